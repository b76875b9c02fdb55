"""Encoding pictures with ViT-B/32: `DualEncoder.embed_pixels` against transformers in torch."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.clip_models import (
    B32,
    TINY,
    our_encoder,
    random_pixels,
    torch_pixels,
    torch_vision,
    vision_weights,
)
from benchmarks.interleave import Contender, Ratio, Row, Work, versus
from benchmarks.machine import has_bfloat16, has_matrix_units

EAGER, COMPILED = "torch eager, float32", "torch.compile, float32"
TORCH_NARROW = "torch eager, bfloat16 weights"
OURS, OURS_NARROW = "jaxcbm, float32", "jaxcbm, bfloat16"
BATCH, BATCHES = 32, 2
FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-6, 1e-5


def rows(quick: bool) -> list[Row]:
    """One row; bfloat16 where the processor has it, with a target where it has matrix units."""
    sizes = TINY if quick else B32
    builders = {EAGER: theirs, COMPILED: _compiled, OURS: functools.partial(ours, "float32")}
    ratios = [
        versus(OURS, EAGER, None if quick else 1.0),
        versus(OURS, COMPILED),
        versus(COMPILED, EAGER),
    ]
    skipped = []
    if has_bfloat16():
        builders |= {TORCH_NARROW: _torch_narrow, OURS_NARROW: functools.partial(ours, "bfloat16")}
        ratios += _narrow_ratios(quick)
    if not has_matrix_units():
        skipped = [
            "The bfloat16 target (3.5) is for processors with matrix units; this one lacks "
            "`amx_bf16`. "
            + ("Its vector units' numbers are given without one." if has_bfloat16() else "")
        ]
    contenders = [
        Contender(name, functools.partial(build, sizes), BATCH * BATCHES)
        for name, build in builders.items()
    ]
    return [
        Row(
            name="encoding",
            title=f"Encoding pictures: ViT-B/32, random weights, batches of {BATCH}",
            unit="images",
            contenders=contenders,
            ratios=ratios,
            check=functools.partial(check_agreement, sizes),
            notes=[
                "torch is given normalised float32 pixels; jaxcbm is given uint8 and normalises "
                "them itself. Reading and resizing files is not included.",
            ],
            skipped=skipped,
        )
    ]


def _narrow_ratios(quick: bool) -> list[Ratio]:
    target = 3.5 if has_matrix_units() and not quick else None
    return [versus(OURS_NARROW, EAGER, target), versus(OURS_NARROW, TORCH_NARROW)]


def ours(dtype: str, sizes: Mapping[str, Any]) -> Work:
    """The image tower on uint8 pictures, one compiled batch after the other."""
    encoder, pixels = our_encoder(sizes, dtype), random_pixels(sizes, BATCH * BATCHES)

    def work() -> None:
        encoder.embed_pixels(pixels, batch_size=BATCH)

    return work


def theirs(sizes: Mapping[str, Any], *, compiled: bool = False, narrow: bool = False) -> Work:
    """transformers on normalised pictures, with the norm that `embed_pixels` takes too."""
    import torch

    model, pixels = torch_vision(sizes), torch_pixels(random_pixels(sizes, BATCH * BATCHES))
    if narrow:
        model, pixels = model.to(torch.bfloat16), pixels.to(torch.bfloat16)
    forward = torch.compile(model) if compiled else model

    def work() -> None:
        with torch.inference_mode():
            for i in range(0, len(pixels), BATCH):
                projected = forward(pixel_values=pixels[i : i + BATCH]).image_embeds
                torch.nn.functional.normalize(projected.float(), dim=-1).numpy()

    return work


_compiled = functools.partial(theirs, compiled=True)
_torch_narrow = functools.partial(theirs, narrow=True)


def check_agreement(sizes: Mapping[str, Any]) -> str:
    """The same weights and pictures must give the same embeddings, in both types.

    Raises:
        AssertionError: they do not.
    """
    import torch

    model, pixels = torch_vision(sizes), random_pixels(sizes, 8)
    with torch.inference_mode():
        theirs_NxE = model(pixel_values=torch_pixels(pixels)).image_embeds.numpy()
    theirs_NxE = theirs_NxE / np.linalg.norm(theirs_NxE, axis=1, keepdims=True)
    weights = vision_weights(sizes, model)
    found = []
    for dtype, limit in (("float32", FLOAT32_TOLERANCE), ("bfloat16", BFLOAT16_TOLERANCE)):
        ours_NxE = our_encoder(sizes, dtype, weights).embed_pixels(pixels, batch_size=8)
        # Half the squared distance of unit vectors is 1 - cos, without its cancellation.
        distance_N = np.sum(np.square(ours_NxE.astype(np.float64) - theirs_NxE), axis=1)
        error = float(0.5 * np.max(distance_N))
        assert error < limit, f"{dtype}: 1 - cos is {error:.1e} against torch float32"
        found.append(f"{error:.0e} in {dtype}")
    return (
        "Checked before timing: from equal weights and pictures, 1 - cos against torch in float32 "
        f"is at most {' and '.join(found)}."
    )
