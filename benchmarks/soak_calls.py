"""An exported program called by eight threads, and images encoded over and over: is memory flat?

python -m benchmarks.soak_calls --folder=SCRATCH     # some minutes
python -m benchmarks.soak_calls --folder=SCRATCH --calls=2000 --rounds=20 --force --result=/tmp/calls.json --picture=/tmp/calls.png

Every answer of the program is compared with what one thread was told before, and every store with
the number of its images; each round encodes images that are new, into a store of its own.
"""  # noqa: E501

import argparse
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export
from matplotlib.figure import Figure

from benchmarks.machine import describe, idle_machine
from benchmarks.soak import GROWTH, LOOK, anonymous_mib
from benchmarks.soak_inputs import SIDE, save_toy_model
from jaxcbm.atomic import write_json
from jaxcbm.charts import look, styled
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.store.feature_store import encode
from jaxcbm.model.export.program import make_program
from jaxcbm.model.model import Model, load_model

THREADS, PICTURES, IMAGES = 8, 64, 1000
# Fewer are over before the process is warm.
FEW = 50_000


def main() -> None:
    """Measure, write the result, and draw it."""
    args = _arguments()
    with idle_machine("soak_calls", force=args.force) as load:
        result = measure(args.folder, args.calls, args.rounds)
    write_json(args.result, {**result, "load": asdict(load)})
    for name in ("calls", "encoding"):
        found = result[name]
        print(f"{name}: {found['count']:,} in {found['seconds']:.0f} s, {found['growth']:+.1%}")
        assert found["growth"] <= GROWTH or args.calls < FEW, f"memory grows with {name}"
    memory_plot(json.loads(args.result.read_text(encoding="utf-8"))).savefig(args.picture)


def measure(folder: Path, calls: int, rounds: int) -> dict[str, Any]:
    """Both soaks, one after the other; everything lies in `folder` meanwhile.

    Raises:
        AssertionError: an answer is another one, or a store lacks images.
    """
    home = folder / "soak_calls"
    home.mkdir(parents=True)
    try:
        model = load_model(save_toy_model(home))
        called = soaked(lambda: call_program(model, calls), calls)
        encoded = soaked(lambda: encode_again(model, home / "stores", rounds), rounds * IMAGES)
    finally:
        shutil.rmtree(home)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = {"date": date, "machine": describe(), "threads": THREADS, "images_a_round": IMAGES}
    return {**about, "calls": called, "encoding": encoded}


def call_program(model: Model, calls: int) -> None:
    """One picture a call, by eight threads at once; each answer is the one that it had alone."""
    made = make_program(model, ("cpu",))
    weights = jax.device_put(dict(made.weights))
    predict = jax.jit(export.deserialize(bytearray(made.serialised)).call)
    shape = (PICTURES, 1, SIDE, SIDE, 3)
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    alone = [np.asarray(predict(weights, picture)["class_logits"]) for picture in pictures]
    wrong: list[int] = []

    def work(first: int) -> None:
        for number in range(first, calls, THREADS):
            at = number % PICTURES
            if not np.array_equal(predict(weights, pictures[at])["class_logits"], alone[at]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, f"calls {wrong[:5]} were answered otherwise than alone"


def encode_again(model: Model, root: Path, rounds: int) -> None:
    """Images that nobody has seen, into a store that is removed afterwards, again and again."""
    for number in range(rounds):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
        images = ImageSet.from_arrays(pixels, ["picture"] * IMAGES)
        found = encode(images, model.loaded_encoder, root, progress=_quiet)
        assert len(found) == IMAGES, f"round {number}: {len(found)} of {IMAGES} images"
        del found
        shutil.rmtree(root)


def soaked(work: Callable[[], None], count: int) -> dict[str, Any]:
    """Memory of this process while it works: medians of the second and of the last quarter."""
    begun = time.monotonic()
    with _looks() as looks:
        work()
    seconds = time.monotonic() - begun
    quarters = np.array_split([mib for _, mib in looks], 4)
    early, late = float(np.median(quarters[1])), float(np.median(quarters[3]))
    rate = {"count": count, "seconds": seconds, "per_second": count / seconds}
    return {**rate, "early_mib": early, "late_mib": late, "growth": late / early - 1, "mib": looks}


@contextmanager
def _looks() -> Iterator[list[list[float]]]:
    """Seconds and MiB, looked at in a thread of its own until the block ends."""
    looks: list[list[float]] = []
    done, begun = threading.Event(), time.monotonic()

    def watch() -> None:
        while not done.wait(LOOK):
            looks.append([round(time.monotonic() - begun, 1), round(anonymous_mib("self"), 1)])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield looks
    finally:
        done.set()
        thread.join()


@styled
def memory_plot(result: dict[str, Any]) -> Figure:
    """Memory over time, of the calls and of the encoding."""
    figure = Figure(figsize=(7.5, 3.2))
    axes = figure.subplots()
    labels = {
        "calls": f"{result['calls']['count']:,} calls by {THREADS} threads",
        "encoding": f"{result['encoding']['count']:,} images encoded",
    }
    for number, (name, label) in enumerate(labels.items()):
        seconds, mib = np.transpose(result[name]["mib"])
        axes.plot(seconds, mib, color=look(number)["color"], label=label)
    most = max(mib for name in labels for _, mib in result[name]["mib"])
    axes.set(xlabel="seconds", ylabel="anonymous memory, MiB", ylim=(0, 1.15 * most))
    axes.legend(loc="lower right")
    return figure


def _quiet(done: int, of: int) -> None:
    """Rounds have no line of progress."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where stores lie meanwhile")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=300, help="of 1,000 images to encode")
    parser.add_argument("--result", type=Path, default=Path("docs/results/soak_calls.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/soak_calls.png"))
    parser.add_argument("--force", action="store_true", help="on a busy machine too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
