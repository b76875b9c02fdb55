"""Decoding JPEG files to an encoder's pixels, in one thread and in one a core."""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.interleave import Contender, Row, Work, versus
from benchmarks.machine import threads
from jaxcbm.data.decoding import decode_row
from jaxcbm.data.image_source import FileImages
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.encoders.image.preprocess import Preprocess

WIDTH, HEIGHT, SIDE = 500, 375, 224
ONE, EVERY = "one thread", "one thread a core"


def rows(quick: bool) -> list[Row]:
    """One row."""
    count = 8 if quick else 256
    contenders = [
        Contender(ONE, partial(decode_files, count, 1), count),
        Contender(EVERY, partial(decode_files, count, threads()), count),
    ]
    return [
        Row(
            name="decoding",
            title=f"Decoding pictures: JPEG of {WIDTH} x {HEIGHT} to {SIDE} x {SIDE}",
            unit="images",
            contenders=contenders,
            ratios=[versus(EVERY, ONE)],
            notes=[
                "Read, decoded, resized and cropped as `jaxcbm encode` does it. The files lie in "
                "the system's cache; how many bytes they have decides how fast they are decoded, "
                f"and these have {_bytes() / 1000:.0f} kB.",
            ],
        )
    ]


def decode_files(count: int, workers: int, preprocess: Preprocess | None = None) -> Work:
    """Decode every file of a folder that lasts as long as the function."""
    folder, preprocess = tempfile.TemporaryDirectory(), preprocess or Preprocess.square(SIDE)
    source = FileImages(write_files(Path(folder.name), count), Path(folder.name))

    def work(_: object = folder) -> None:
        decode = partial(decode_row, source, preprocess)
        for pixels in map_ahead(decode, range(count), threads=workers, window=4 * workers):
            assert pixels.shape[:2] == preprocess.output_size

    return work


def write_files(folder: Path, count: int) -> tuple[Path, ...]:
    """JPEG files that pack about as photographs do."""
    paths = tuple(folder / f"{i}.jpg" for i in range(count))
    for i, path in enumerate(paths):
        _picture(i).save(path, quality=90)
    return paths


def _picture(seed: int) -> Image.Image:
    """Smooth shapes with a little grain, so that it packs about as a photograph does."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    grained = smooth + rng.normal(0, 6, smooth.shape)
    return Image.fromarray(np.clip(grained, 0, 255).astype(np.uint8))


def _bytes() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.jpg"
        _picture(0).save(path, quality=90)
        return os.path.getsize(path)
