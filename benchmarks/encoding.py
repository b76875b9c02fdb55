"""Encoding pictures with CLIP: `DualEncoder.embed_pixels` against transformers in torch."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.clip_models import (
    B32,
    L14,
    TINY,
    our_encoder,
    random_pixels,
    torch_pixels,
    torch_vision,
    vision_weights,
)
from benchmarks.interleave import Contender, Ratio, Row, Work, versus
from benchmarks.machine import has_bfloat16, has_matrix_units, on_gpu

EAGER, COMPILED = "torch eager, float32", "torch.compile, float32"
TORCH_NARROW = "torch eager, bfloat16 weights"
OURS, OURS_NARROW = "jaxcbm, float32", "jaxcbm, bfloat16"
PEAK, PEAK_SIZE = "jax, one bfloat16 product of 8,192 x 8,192", 8192
BATCHES = 2
FLOAT32_TOLERANCE, BFLOAT16_TOLERANCE = 1e-6, 1e-5


def batch_size() -> int:
    """Pictures a step: few for a processor, enough to fill a GPU."""
    return 256 if on_gpu() else 32


def rows(quick: bool) -> list[Row]:
    """ViT-B/32, and on a GPU ViT-L/14; bfloat16 where there is any."""
    if quick:
        return [_row("encoding", "a small ViT", TINY, quick=True)]
    found = [_row("encoding", "ViT-B/32", B32)]
    return [*found, _row("encoding_l14", "ViT-L/14", L14)] if on_gpu() else found


def _row(name: str, title: str, sizes: Mapping[str, Any], *, quick: bool = False) -> Row:
    """One row; bfloat16 where the processor has it, with a target where it has matrix units."""
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
    if not has_matrix_units() and not on_gpu():
        skipped = [
            "The bfloat16 target (3.5) is for processors with matrix units; this one lacks "
            "`amx_bf16`. "
            + ("Its vector units' numbers are given without one." if has_bfloat16() else "")
        ]
    contenders = [
        Contender(name, functools.partial(build, sizes), batch_size() * BATCHES)
        for name, build in builders.items()
    ]
    notes = [
        "torch is given normalised float32 pixels; jaxcbm is given uint8 and normalises them "
        "itself. Reading and resizing files is not included.",
    ]
    if on_gpu():
        operations = vision_operations(sizes["vision_config"])
        contenders.append(Contender(PEAK, _peak, 2.0 * PEAK_SIZE**3 / operations))
        ratios.append(versus(OURS_NARROW, PEAK))
        notes += [
            "On a GPU torch's pixels lie there before the clock starts; jaxcbm sends its own from "
            "the host's memory in every round. float32 is never rounded by jaxcbm; torch takes "
            "operands in TF32.",
            f"The product is counted in pictures of {operations / 1e9:.1f} GFLOP each, so that "
            "the last ratio is the share of the speed that one large product reaches.",
        ]
    return Row(
        name=name,
        title=f"Encoding pictures: {title}, random weights, batches of {batch_size()}",
        unit="images",
        contenders=contenders,
        ratios=ratios,
        check=functools.partial(check_agreement, sizes),
        notes=notes,
        skipped=skipped,
    )


def vision_operations(config: Mapping[str, Any]) -> float:
    """Floating-point operations of the tower's products for one picture.

    >>> round(vision_operations({}) / 1e9, 1)
    8.8
    """
    width, inner = config.get("hidden_size", 768), config.get("intermediate_size", 3072)
    patch, layers = config.get("patch_size", 32), config.get("num_hidden_layers", 12)
    patches = (config.get("image_size", 224) // patch) ** 2
    tokens = patches + 1
    a_layer = tokens * (4 * width**2 + 2 * width * inner) + 2 * tokens**2 * width
    return 2.0 * (patches * 3 * patch**2 * width + layers * a_layer)


def _peak() -> Work:
    import jax
    import jax.numpy as jnp

    a, b = (
        jax.random.normal(jax.random.key(i), (PEAK_SIZE, PEAK_SIZE), jnp.bfloat16) for i in (0, 1)
    )
    product = jax.jit(jnp.matmul)

    def work() -> None:
        jax.block_until_ready(product(a, b))

    return work


def _narrow_ratios(quick: bool) -> list[Ratio]:
    target = 3.5 if has_matrix_units() and not (quick or on_gpu()) else None
    return [versus(OURS_NARROW, EAGER, target), versus(OURS_NARROW, TORCH_NARROW)]


def ours(dtype: str, sizes: Mapping[str, Any]) -> Work:
    """The image tower on uint8 pictures, one compiled batch after the other."""
    batch = batch_size()
    encoder, pixels = our_encoder(sizes, dtype), random_pixels(sizes, batch * BATCHES)

    def work() -> None:
        encoder.embed_pixels(pixels, batch_size=batch)

    return work


def theirs(sizes: Mapping[str, Any], *, compiled: bool = False, narrow: bool = False) -> Work:
    """transformers on normalised pictures, with the norm that `embed_pixels` takes too."""
    import torch

    batch = batch_size()
    model, pixels = torch_vision(sizes), torch_pixels(random_pixels(sizes, batch * BATCHES))
    if narrow:
        model, pixels = model.to(torch.bfloat16), pixels.to(torch.bfloat16)
    forward = torch.compile(model) if compiled else model

    def work() -> None:
        with torch.inference_mode():
            for i in range(0, len(pixels), batch):
                projected = forward(pixel_values=pixels[i : i + batch]).image_embeds
                torch.nn.functional.normalize(projected.float(), dim=-1).cpu().numpy()

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
        theirs_NxE = model(pixel_values=torch_pixels(pixels)).image_embeds.cpu().numpy()
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
