"""Pictures decoded in threads against processes: JPEG files to 224 x 224 pixels, in batches.

python -m benchmarks.decoding --folder=SCRATCH
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcbm.atomic import atomic_folder, write_json
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import FileImages
from jaxcbm.data.pixel_batches import Pictures, pixel_batches
from jaxcbm.encoders.image.preprocess import Preprocess

FILES, BATCH, ROUNDS = 32, 64, 3
HEIGHT, WIDTH, SIZE = 375, 500, 224


def main() -> None:
    """Measure in turns, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--result", type=Path, default=Path("docs/results/scale/decoding.json"))
    parser.add_argument("--batches", type=int, default=12)
    args = parser.parse_args()
    images = make_pictures(args.folder / "decoding")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    ways = {f"{cores} threads": (cores, 0), f"{cores} processes": (1, cores)}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (threads, workers) in ways.items():
            speeds[name].append(speed(images, threads, workers, args.batches))
            print(name, f"{speeds[name][-1]:.0f} images/s", flush=True)
    first, second = (speeds[name] for name in ways)
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    result = {
        "what": f"JPEG files of {WIDTH} x {HEIGHT} to {SIZE} x {SIZE} pixels, batches of {BATCH}, "
        f"{cores} cores; each way in turn, {ROUNDS} rounds. The first two batches of each "
        "process do not count, so that the seconds in which processes start do not.",
        "processes_over_threads": statistics.median(ratios),
        "lines": [
            {"how": name, "images_per_second": statistics.median(found)}
            for name, found in speeds.items()
        ],
    }
    write_json(args.result, result)
    print(json.dumps(result))


def make_pictures(folder: Path) -> ImageSet:
    """JPEG files of smooth noise, about as large as photographs of that size."""
    rng = np.random.default_rng(0)
    if not folder.exists():
        with atomic_folder(folder) as temporary:
            for number in range(FILES):
                small = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
                picture = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
                picture.save(temporary / f"{number:03d}.jpg", quality=90)
    paths = tuple(sorted(folder.glob("*.jpg")))
    return ImageSet(FileImages(paths, folder), np.zeros(len(paths), np.int32), ("noise",))


def speed(images: ImageSet, threads: int, workers: int, batches: int) -> float:
    """Images a second once all processes work."""
    rows = np.arange(batches * BATCH).reshape(batches, BATCH) % len(images)
    pictures = Pictures(images, Preprocess.square(SIZE), threads=threads, workers=workers)
    stream, skip = pixel_batches(pictures, rows), 2 * max(workers, 1)
    for _ in range(skip):
        next(stream)
    begun = time.monotonic()
    count = sum(len(batch.labels) for batch in stream)
    return count / (time.monotonic() - begun)


if __name__ == "__main__":
    main()
