"""Pictures by the thousand through one model: read ahead, one compiled shape, in order."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from absl import logging

from jaxcbm.data.decoding import try_decode
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.distributed.padded_batches import in_batches
from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.model.prediction import Prediction

if TYPE_CHECKING:
    from jaxcbm.model.model import Model

Picture = ImageLike | Callable[[], ImageLike]
# Pictures a step on each device.
BATCH_SIZE = 32
# Sizes that are tried on each device, from so many pictures on, while one is so much faster.
_SIZES, _MANY, _FASTER = (16, 32, 64, 128, 256, 512), 10_000, 1.05


class PictureBatch(NamedTuple):
    """Pictures that go through a model together.

    Attributes:
        names: what the caller knows each of the n pictures by: a path, a position, a record.
        pixels: as the encoder takes them, uint8 [n, S, S, 3].
        skipped: name and reason of those that stand between them and cannot be read.
    """

    names: tuple[Any, ...]
    pixels: np.ndarray
    skipped: tuple[tuple[Any, str], ...] = ()


def read_batches(
    pictures: Iterable[tuple[Any, Picture]],
    preprocess: Preprocess,
    batch_size: int = BATCH_SIZE,
    threads: int = 0,
) -> Iterator[PictureBatch]:
    """Open, resize and crop pictures in threads, ahead of whoever asks; in order.

    Args:
        pictures: names and pictures: what `open_image` takes, or a function that gives it, such as
            the `load` of a source; a function may raise `UnreadableImage`.
        preprocess: the encoder's.
        batch_size: pictures a batch; the last has fewer, perhaps none but some that were skipped.
        threads: that decode; 0 for one a core.
    """
    threads = threads or os.cpu_count() or 1

    def read(item: tuple[Any, Picture]) -> tuple[Any, np.ndarray | str]:
        return item[0], try_decode(item[1], preprocess)

    names: list[Any] = []
    pixels: list[np.ndarray] = []
    skipped: list[tuple[Any, str]] = []
    for name, found in map_ahead(read, pictures, threads=threads, window=2 * batch_size + threads):
        if isinstance(found, str):
            skipped.append((name, found))
            continue
        names.append(name)
        pixels.append(found)
        if len(names) == batch_size:
            yield PictureBatch(tuple(names), np.stack(pixels), tuple(skipped))
            names, pixels, skipped = [], [], []
    if names or skipped:
        height, width = preprocess.output_size or (0, 0)
        rows = np.stack(pixels) if pixels else np.empty((0, height, width, 3), np.uint8)
        yield PictureBatch(tuple(names), rows, tuple(skipped))


def batch_inference(
    model: "Model", batches: Iterable[PictureBatch], batch_size: int = BATCH_SIZE
) -> Iterator[tuple[PictureBatch, Prediction]]:
    """What a model says of batches of pictures, in order: `Model.apply` in one compiled shape.

    It runs where the model's encoder is: `Model.on` spreads it over a mesh, or has it computed in
    bfloat16. The device works on a batch while the next one is read.

    Args:
        model: its encoder is loaded if it is not yet.
        batches: of at most `batch_size` pictures, such as `read_batches` makes.
        batch_size: pictures a step, over all devices; rounded up to a multiple of their number.

    Yields:
        Each batch with a `Prediction` of NumPy arrays of its n pictures.
    """
    waiting: list[PictureBatch] = []

    def pixels() -> Iterator[np.ndarray]:
        for batch in batches:
            waiting.append(batch)
            yield batch.pixels

    mesh = model.loaded_encoder.mesh
    for found in in_batches(partial(model.apply, model.weights), pixels(), batch_size, mesh):
        yield waiting.pop(0), found


def choose_batch_size(model: "Model", pictures: int | None = None) -> int:
    """Pictures a step, over all devices: what is fastest here and now, where there are many.

    Sizes are doubled while that makes the model faster by a twentieth; each is compiled, and seen
    on noise. For less than 10,000 pictures that would take longer than it saves.

    Args:
        model: on one device or on a mesh.
        pictures: how many will come; None where only reading tells.
    """
    mesh = model.loaded_encoder.mesh
    devices = 1 if mesh is None else mesh.shape["data"]
    if pictures is not None and pictures < _MANY:
        # One picture must not cost thirty-two.
        each = 1 << (max(-(-pictures // devices), 1) - 1).bit_length()
        return devices * min(each, BATCH_SIZE)
    rates: dict[int, float] = {}
    best = devices
    for size in (devices * each for each in _SIZES):
        rates[size] = size / _seconds(model, size)
        if rates[size] < _FASTER * rates.get(best, 0.0):
            break
        best = size
    said = ", ".join(f"{size}: {rate:.4g}" for size, rate in rates.items())
    logging.info("batch size %d, by measured pictures a second (%s)", best, said)
    return best


def _seconds(model: "Model", size: int) -> float:
    """How long one batch takes once it is compiled."""
    shape = model.loaded_encoder.image_size, model.loaded_encoder.image_size, 3
    noise = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)

    def run() -> float:
        start = time.perf_counter()
        next(batch_inference(model, [PictureBatch((), noise)], size))
        return time.perf_counter() - start

    run()
    return run()
