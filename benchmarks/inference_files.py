"""Predicting JPEG files from end to end, against transformers' processor and torch's DataLoader."""

import functools
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clip_models import B32, TINY, image_size, torch_vision, vision_weights
from benchmarks.decoding import decode_files, write_files
from benchmarks.encoding import batch_size
from benchmarks.inference import CLASSES, CONCEPTS
from benchmarks.interleave import Contender, Ratio, Row, Work, versus
from benchmarks.machine import has_bfloat16, has_matrix_units, threads
from jaxcbm.experiment.speed import random_encoder
from jaxcbm.model.batch_inference import batch_inference, read_batches
from jaxcbm.model.model import Model
from jaxcbm.model.random_model import random_model

TORCH, DECODER = "torch, processor and DataLoader", "decoder alone"
OURS, TOWER = "jaxcbm, {}", "image tower alone, {}"
FILES, COPIES, ALONE, WORKERS = 5_000, 10, 256, 2
TARGETS = {"float32": 1.2, "bfloat16": 3.0}
TOLERANCE = 1e-6


def rows(quick: bool) -> list[Row]:
    """One row."""
    dtypes = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
    files, alone = (40, 8) if quick else (FILES, ALONE)
    preprocess = random_encoder(small=quick).preprocess
    contenders = [
        Contender(TORCH, partial(_torch, quick), files),
        Contender(DECODER, partial(decode_files, alone, threads(), preprocess), alone),
    ]
    ratios = []
    for dtype in dtypes:
        ours, tower = OURS.format(dtype), TOWER.format(dtype)
        contenders += [
            Contender(ours, partial(_ours, dtype, quick), files),
            Contender(tower, partial(_tower, dtype, quick, alone), alone),
        ]
        promised = not quick and (dtype == "float32" or has_matrix_units())
        ratios += [
            versus(ours, TORCH, TARGETS[dtype] if promised else None),
            *_of_parts(ours, tower, quick),
        ]
    return [
        Row(
            name="inference_files",
            title=f"Predicting {files:,} JPEG files: ViT-B/32, random weights, batches of "
            f"{batch_size()}",
            unit="images",
            contenders=contenders,
            ratios=ratios,
            check=partial(_check, quick),
            notes=[
                f"jaxcbm predicts with D = {CONCEPTS} and K = {CLASSES}; torch embeds and no more. "
                f"{WORKERS} worker processes decode for torch, {threads()} threads for jaxcbm.",
                f"{files // COPIES:,} pictures, each in {COPIES} files, in the system's cache. "
                "Starting the workers is not counted.",
                "On a processor decoder and tower share its cores, so that both together cannot be "
                "as fast as the slower one is alone.",
            ],
        )
    ]


def _of_parts(files: str, tower: str, quick: bool) -> list[Ratio]:
    return [
        Ratio(
            f"{files} / the slower of tower and decoder",
            lambda cost: max(cost[tower], cost[DECODER]) / cost[files],
            None if quick else 0.9,
            "files over the slower one, each of them alone",
        ),
        Ratio(
            f"{files} / tower and decoder, one after the other",
            lambda cost: (cost[tower] + cost[DECODER]) / cost[files],
            None,
            "(tower + decoder) / files, in seconds a picture",
        ),
    ]


def _sizes(quick: bool) -> Mapping[str, Any]:
    return TINY if quick else B32


@functools.cache
def _folder(quick: bool) -> tuple[tempfile.TemporaryDirectory, tuple[str, ...]]:
    """The files, and what keeps them."""
    folder = tempfile.TemporaryDirectory()
    drawn = write_files(Path(folder.name), (40 if quick else FILES) // COPIES)
    paths = [str(path) for path in drawn]
    for copy in range(1, COPIES):
        for path in drawn:
            paths.append(str(path.with_stem(f"{path.stem}_{copy}")))
            shutil.copyfile(path, paths[-1])
    return folder, tuple(paths)


@functools.cache
def _model(dtype: str, quick: bool) -> Model:
    sizes = _sizes(quick)
    encoder = random_encoder(small=quick, dtype=dtype)
    weights = vision_weights(sizes, torch_vision(sizes))
    encoder = replace(encoder, params={**encoder.params, **weights})
    return random_model(encoder, CONCEPTS, CLASSES)


def _ours(dtype: str, quick: bool) -> Work:
    model, (_, paths) = _model(dtype, quick), _folder(quick)

    def work() -> None:
        preprocess, count = model.loaded_encoder.preprocess, 0
        batches = read_batches(enumerate(paths), preprocess, batch_size(), threads())
        for batch, found in batch_inference(model, batches, batch_size()):
            assert not batch.skipped
            count += len(found.class_logits)
        assert count == len(paths)

    return work


def _tower(dtype: str, quick: bool, count: int) -> Work:
    encoder, size = _model(dtype, quick).loaded_encoder, image_size(_sizes(quick))
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)

    def work() -> None:
        encoder.embed_pixels(pixels, batch_size())

    return work


class JpegFiles:
    """A data set for torch's DataLoader: files as transformers' processor makes them.

    Attributes:
        paths: of the files.
        size: pixels along an edge.
    """

    def __init__(self, paths: tuple[str, ...], size: int) -> None:
        from transformers import CLIPImageProcessorPil

        self.paths = paths
        self.processor = CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Any:
        from PIL import Image

        with Image.open(self.paths[i]) as image:
            return self.processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]


def _torch(quick: bool) -> Work:
    import torch

    sizes, (_, paths) = _sizes(quick), _folder(quick)
    model = torch_vision(sizes)
    loader = torch.utils.data.DataLoader(
        JpegFiles(paths, image_size(sizes)),  # pyright: ignore[reportArgumentType]
        batch_size=batch_size(),
        num_workers=WORKERS,
        persistent_workers=True,
        # jax has threads, which a fork does not take with it.
        multiprocessing_context="spawn",
    )

    def work() -> None:
        count = 0
        with torch.inference_mode():
            for pixels in loader:
                embeddings = model(pixel_values=pixels).image_embeds
                count += len(torch.nn.functional.normalize(embeddings, dim=-1).cpu().numpy())
        assert count == len(paths)

    return work


def _check(quick: bool) -> str:
    """The same files must give the same embeddings.

    Raises:
        AssertionError: they do not.
    """
    import torch

    sizes, (_, paths) = _sizes(quick), _folder(quick)
    files = JpegFiles(paths, image_size(sizes))
    with torch.inference_mode():
        pixels = torch.stack([files[i] for i in range(8)])
        theirs_NxE = torch_vision(sizes)(pixel_values=pixels).image_embeds.numpy()
    theirs_NxE /= np.linalg.norm(theirs_NxE, axis=1, keepdims=True)
    ours_NxE = _model("float32", quick).predict(list(paths[:8])).image_embeddings
    error = float(0.5 * np.max(np.sum(np.square(ours_NxE - theirs_NxE), axis=1)))
    assert error < TOLERANCE, f"1 - cos is {error:.1e} against torch"
    return f"Checked before timing: from equal files, 1 - cos against torch is at most {error:.0e}."
