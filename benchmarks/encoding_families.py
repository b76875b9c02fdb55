"""Pictures and phrases of one model a family: `DualEncoder` against transformers in eager torch."""

import functools
from typing import Any

import numpy as np

from benchmarks.clip_models import torch_pixels
from benchmarks.family_models import (
    Choice,
    chosen,
    our_encoder,
    token_ids,
    torch_model,
    torch_rows,
)
from benchmarks.interleave import Contender, Row, Work, versus
from benchmarks.machine import has_matrix_units

EAGER, OURS = "torch eager, float32", "jaxcbm, float32"
TORCH_NARROW, OURS_NARROW = "torch eager, bfloat16 weights", "jaxcbm, bfloat16"
# Phrases a step, and the most that 1 - cos may be.
PHRASES_A_STEP, TOLERANCE = 64, {"float32": 1e-6, "bfloat16": 1e-3}
# ViT-B/32 has a row of its own for pictures, and ViT-B/16 has the same text tower.
PICTURES = ("clip_b16", "siglip", "altclip", "align", "open_clip")
PHRASES = ("clip_b32", "siglip", "altclip", "align", "open_clip")


def rows(quick: bool) -> list[Row]:
    """One row a model and tower; bfloat16 where the processor has matrix units."""
    pictures = [_row(Choice(name, "vision", quick)) for name in PICTURES]
    return pictures + [_row(Choice(name, "text", quick)) for name in PHRASES]


def _row(choice: Choice) -> Row:
    model, images = chosen(choice), choice.tower == "vision"
    target = None if choice.tiny else 1.0
    builders = {EAGER: theirs, OURS: functools.partial(ours, "float32")}
    ratios, skipped = [versus(OURS, EAGER, target)], []
    if has_matrix_units():
        narrow = None if choice.tiny else 0.95
        builders |= {
            TORCH_NARROW: functools.partial(theirs, narrow=True),
            OURS_NARROW: functools.partial(ours, "bfloat16"),
        }
        ratios += [versus(OURS_NARROW, EAGER), versus(OURS_NARROW, TORCH_NARROW, narrow)]
    else:
        skipped = ["No bfloat16: this processor lacks `amx_bf16`."]
    count = model.batch if images else model.phrases
    return Row(
        name=f"{'pictures' if images else 'phrases'}_{choice.name}",
        title=f"Encoding {'pictures' if images else 'phrases'}: {model.title}, random weights",
        unit="images" if images else "phrases",
        contenders=[
            Contender(name, functools.partial(build, choice=choice), count)
            for name, build in builders.items()
        ],
        ratios=ratios,
        check=functools.partial(check_agreement, choice),
        notes=[_note(choice)],
        skipped=skipped,
    )


def _note(choice: Choice) -> str:
    if choice.tower == "vision":
        return "torch is given normalised float32 pixels; jaxcbm normalises uint8 ones itself."
    if chosen(choice).kind == "siglip":
        return "Every row has the full 64 tokens, as in training."
    return (
        "Phrases of 5 to 12 tokens; torch's rows are padded to the longest of a batch, as "
        "transformers' processors do it. Tokenizing is not included."
    )


def random_pixels(choice: Choice, count: int, size: int) -> np.ndarray:
    """uint8 [count, size, size, 3]."""
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), np.uint8)


def ours(dtype: str, choice: Choice) -> Work:
    """One compiled step of pictures, or `embed_texts` on all phrases."""
    encoder, model = our_encoder(choice, dtype), chosen(choice)
    if choice.tower == "vision":
        pixels = random_pixels(choice, model.batch, encoder.image_size)
        return lambda: _drop(encoder.embed_pixels(pixels, batch_size=model.batch))
    phrases = [str(i) for i in range(model.phrases)]
    return lambda: _drop(encoder.embed_texts(phrases, batch_size=PHRASES_A_STEP))


def theirs(choice: Choice, *, narrow: bool = False) -> Work:
    """The same by transformers, with the norm that `DualEncoder` takes too."""
    import torch

    model = torch_model(choice)
    dtype = torch.bfloat16 if narrow else torch.float32
    model = model.to(dtype)
    size = our_encoder(choice, "float32").image_size
    if choice.tower == "vision":
        pixels = torch_pixels(random_pixels(choice, chosen(choice).batch, size)).to(dtype)
        batches = [functools.partial(model.get_image_features, pixel_values=pixels)]
    else:
        ids = token_ids(choice)
        batches = [
            functools.partial(
                model.get_text_features, **torch_rows(choice, ids[i : i + PHRASES_A_STEP])
            )
            for i in range(0, len(ids), PHRASES_A_STEP)
        ]

    def work() -> None:
        with torch.inference_mode():
            for batch in batches:
                torch.nn.functional.normalize(batch().pooler_output.float(), dim=-1).numpy()

    return work


def _drop(_: Any) -> None:
    """What a work returns is of no use."""


def embeddings(choice: Choice, dtype: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of some pictures or phrases: ours in that type, and torch's in float32."""
    import torch

    encoder, model = our_encoder(choice, dtype), torch_model(choice)
    with torch.inference_mode():
        if choice.tower == "vision":
            pixels = random_pixels(choice, count, encoder.image_size)
            ours_NxE = encoder.embed_pixels(pixels, batch_size=count)
            theirs_NxE = model.get_image_features(pixel_values=torch_pixels(pixels)).pooler_output
        else:
            ours_NxE = encoder.embed_texts([str(i) for i in range(count)])
            made = torch_rows(choice, token_ids(choice)[:count])
            theirs_NxE = model.get_text_features(**made).pooler_output
        return ours_NxE, torch.nn.functional.normalize(theirs_NxE, dim=-1).numpy()


def check_agreement(choice: Choice) -> str:
    """The same weights and inputs must give the same embeddings, in both types.

    Raises:
        AssertionError: they do not.
    """
    found = []
    for dtype, limit in TOLERANCE.items():
        ours_NxE, theirs_NxE = embeddings(choice, dtype, 4)
        # Half the squared distance of unit vectors is 1 - cos, without its cancellation.
        distance_N = np.sum(np.square(ours_NxE.astype(np.float64) - theirs_NxE), axis=1)
        error = float(0.5 * np.max(distance_N))
        assert error < limit, f"{choice.name}, {dtype}: 1 - cos is {error:.1e} against torch"
        found.append(f"{error:.0e} in {dtype}")
    return (
        "Checked before timing: from equal weights and inputs, 1 - cos against torch in float32 "
        f"is at most {' and '.join(found)}."
    )
