"""Predicting pictures: `batch_inference` against its image tower alone, and how long few take."""

import functools
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

from benchmarks.decoding import decode_files, write_files
from benchmarks.encoding import batch_size
from benchmarks.interleave import Contender, Ratio, Row, Work, versus
from benchmarks.machine import has_bfloat16, threads
from jaxcbm.experiment.speed import random_encoder
from jaxcbm.model.batch_inference import PictureBatch, batch_inference, read_batches
from jaxcbm.model.model import Model
from jaxcbm.model.random_model import random_model

CONCEPTS, CLASSES, BATCHES = 512, 200, 4
TOWER, PIXELS = "image tower alone, {}", "batch_inference of pixels, {}"
FILES, DECODER = "read_batches and batch_inference of JPEG files, {}", "decoder alone"
SIZES, CALLS = (1, 4, 16), 200


def rows(quick: bool) -> list[Row]:
    """Throughput, and latency of few pictures."""
    dtypes = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
    return [_throughput(dtypes, quick), _latency(quick)]


@functools.cache
def _model(dtype: str, quick: bool) -> Model:
    encoder = random_encoder(small=quick, dtype=dtype)
    return random_model(encoder, CONCEPTS, CLASSES)


def _throughput(dtypes: tuple[str, ...], quick: bool) -> Row:
    count = batch_size() * BATCHES
    contenders, ratios = [Contender(DECODER, partial(_decode, count, quick), count)], []
    for dtype in dtypes:
        makers = {TOWER: _tower, PIXELS: _pixels, FILES: _files}
        contenders += [
            Contender(name.format(dtype), partial(make, dtype, quick), count)
            for name, make in makers.items()
        ]
        tower, pixels, files = (name.format(dtype) for name in makers)
        ratios += [versus(pixels, tower, None if quick else 0.9), _of_both(files, tower)]
    return Row(
        name="inference",
        title=f"Predicting pictures: ViT-B/32, random weights, batches of {batch_size()}, "
        f"D = {CONCEPTS}, K = {CLASSES}",
        unit="images",
        contenders=contenders,
        ratios=ratios,
        check=partial(_check, quick),
        notes=[
            "On a processor decoder and tower share its cores: what both need for a picture is "
            f"then added up. {threads()} threads decode.",
        ],
    )


def _of_both(files: str, tower: str) -> Ratio:
    return Ratio(
        f"{files} / tower and decoder, one after the other",
        lambda cost: (cost[tower] + cost[DECODER]) / cost[files],
        0.9,
        "(tower + decoder) / files, in seconds a picture",
    )


def _latency(quick: bool) -> Row:
    contenders = [
        Contender(f"{name}, {size} at once", partial(make, size, quick), size)
        for size in SIZES
        for name, make in {"jit(model.apply)": _applied, "image tower": _bare}.items()
    ]
    ratios = [
        versus(f"jit(model.apply), {size} at once", f"image tower, {size} at once")
        for size in SIZES
    ]
    return Row(
        name="latency",
        title=f"Predicting few pictures: ViT-B/32, random weights, float32, D = {CONCEPTS}, "
        f"K = {CLASSES}",
        unit="images",
        contenders=contenders,
        ratios=ratios,
        check=partial(_percentiles, quick),
        notes=["From uint8 pixels in the host's memory to NumPy arrays of all that is said."],
    )


def _noise(quick: bool, count: int) -> np.ndarray:
    size = _model("float32", quick).loaded_encoder.image_size
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def _tower(dtype: str, quick: bool) -> Work:
    encoder = _model(dtype, quick).loaded_encoder
    return partial(_drop, encoder.embed_pixels, _noise(quick, batch_size() * BATCHES), batch_size())


def _pixels(dtype: str, quick: bool) -> Work:
    parts = np.split(_noise(quick, batch_size() * BATCHES), BATCHES)
    batches = [PictureBatch(tuple(range(len(part))), part) for part in parts]
    model = _model(dtype, quick)
    return lambda: _drop(list, batch_inference(model, batches, batch_size()))


def _files(dtype: str, quick: bool) -> Work:
    folder, model = tempfile.TemporaryDirectory(), _model(dtype, quick)
    paths = write_files(Path(folder.name), batch_size() * BATCHES)

    def work(_: object = folder) -> None:
        preprocess = model.loaded_encoder.preprocess
        batches = read_batches(enumerate(paths), preprocess, batch_size(), threads())
        _drop(list, batch_inference(model, batches, batch_size()))

    return work


def _decode(count: int, quick: bool) -> Work:
    return decode_files(count, threads(), _model("float32", quick).loaded_encoder.preprocess)


def _applied(size: int, quick: bool) -> Work:
    model, pixels = _model("float32", quick), _noise(quick, size)
    run = jax.jit(model.apply)
    return lambda: _drop(jax.device_get, run(model.weights, pixels))


def _bare(size: int, quick: bool) -> Work:
    encoder, pixels = _model("float32", quick).loaded_encoder, _noise(quick, size)
    operands = encoder.image_operands
    return lambda: _drop(jax.device_get, encoder.image_tower(operands, pixels))


def _drop(function, *arguments) -> None:
    function(*arguments)


def _check(quick: bool) -> str:
    """Pixels and compiled function must say the same.

    Raises:
        AssertionError: they do not.
    """
    model, pixels = _model("float32", quick), _noise(quick, 8)
    one = jax.jit(model.apply)(model.weights, pixels)
    other = model.predict(pixels, 8)
    error = float(np.max(np.abs(one.class_logits - other.class_logits)))
    assert error < 1e-4, f"logits differ by {error:.1e}"
    return f"Checked before timing: jit(model.apply) gives the logits of predict to {error:.0e}."


def _percentiles(quick: bool) -> str:
    """What one call takes, half of the time and nearly always."""
    told = []
    for size in SIZES:
        work, taken = _applied(size, quick), []
        work()
        for _ in range(CALLS // 10 if quick else CALLS):
            start = time.perf_counter()
            work()
            taken.append(1e3 * (time.perf_counter() - start))
        p50, p99 = np.percentile(taken, (50, 99))
        told.append(f"{size} at once: {p50:.2f} and {p99:.2f} ms")
    return f"jit(model.apply), p50 and p99 of {len(taken)} calls: {'; '.join(told)}."
