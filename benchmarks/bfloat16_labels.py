"""How many labels stay the same with the encoder in bfloat16, for small trained encoders.

python -m benchmarks.bfloat16_labels                # every family
python -m benchmarks.bfloat16_labels --only align   # the others keep their last figures
python -m benchmarks.readme                         # then writes docs/inference.md

CLIP's is `jaxcbm/tiny`. Of each other family a small encoder learns what that one makes of birds
and captions, none of them of the quick start's species; then the quick start's bottleneck is
fitted on it.
"""

import argparse
import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.machine import describe
from benchmarks.report import table
from jaxcbm.atomic import write_json
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.birds.birds import load_birds
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.pretrain import PairsConfig, load_pairs
from jaxcbm.flat_params import merge_flat, split_flat
from jaxcbm.model.model import Model
from jaxcbm.training.fit import fit
from jaxcbm.training.pretrain import PretrainConfig, make_optimizer

RESULT = Path(__file__).parents[1] / "docs" / "results" / "bfloat16_labels.json"
BUILT_IN = "jaxcbm/tiny"
SIDE, WIDTH, LENGTH = 64, 128, 32
# Every so many captions are read, and the loss is printed after so many steps.
PAIRS, STRIDE, EVERY = PairsConfig(birds=20_000), 4, 100
TRAINING = PretrainConfig(steps=1_000, batch_size=128, learning_rate=1e-3)
_TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
}
_TEXT = {**_TOWER, "num_hidden_layers": 2, "max_position_embeddings": LENGTH}
_PICTURES = {**_TOWER, "image_size": SIDE, "patch_size": 8}
_STAGES = {
    "in_channels": [32, 16, 24],
    "out_channels": [16, 24, WIDTH],
    "kernel_sizes": [3, 3, 5],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 2, 2],
    "expand_ratios": [1, 4, 4],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "image_size": SIDE,
    "hidden_dim": 16,
}
# What each family's configuration says beside the sizes of its text tower's vocabulary.
SIZES: dict[str, dict[str, Any]] = {
    "siglip": {
        "vision_config": _PICTURES,
        "text_config": {**_TEXT, "projection_size": WIDTH},
    },
    "altclip": {
        "projection_dim": WIDTH,
        "vision_config": _PICTURES,
        "text_config": {**_TEXT, "max_position_embeddings": LENGTH + 2, "project_dim": WIDTH},
    },
    "align": {"projection_dim": WIDTH, "vision_config": _STAGES, "text_config": _TEXT},
    "open_clip": {
        "model_cfg": {
            "embed_dim": WIDTH,
            "vision_cfg": {
                "image_size": SIDE,
                "patch_size": 8,
                "width": WIDTH,
                "layers": 3,
                "head_width": 32,
            },
            "text_cfg": {"context_length": LENGTH, "width": WIDTH, "heads": 4, "layers": 2},
        }
    },
}


class Lessons(NamedTuple):
    """What students are taught.

    Attributes:
        pixels: of birds, uint8 [N, S, S, 3].
        captions: M of theirs, each once.
        images: what to make of the pictures, float32 [N, E].
        texts: what to make of the captions, float32 [M, E].
    """

    pixels: np.ndarray
    captions: list[str]
    images: np.ndarray
    texts: np.ndarray


@functools.cache
def _lessons() -> Lessons:
    """The teacher's embeddings, spread out: CLIP's lie close together around their mean."""
    teacher = load_encoder(BUILT_IN)
    pixels, groups = load_pairs(PAIRS, teacher.preprocess)
    captions = sorted({text for group in groups for text in group})[::STRIDE]
    images, texts = teacher.embed_images(pixels, 256), teacher.embed_texts(captions)
    # Products of the two remain what they were, up to what all pictures or all captions share.
    deviation_E = images.std(axis=0)
    return Lessons(
        pixels,
        captions,
        (images - images.mean(axis=0)) / deviation_E,
        _of_unit_size((texts - texts.mean(axis=0)) * deviation_E),
    )


def _of_unit_size(x_MxE: np.ndarray) -> np.ndarray:
    return x_MxE / np.sqrt(np.mean(np.square(x_MxE)))


def trained_encoder(kind: str) -> DualEncoder:
    """A small encoder of a family that has learnt what the built-in one makes of birds.

    Args:
        kind: key of `SIZES`.
    """
    family, teacher, lessons = FAMILIES[kind], load_encoder(BUILT_IN), _lessons()
    config = family.config(_with_vocabulary(kind, len(teacher.tokenizer.backend)))
    tokenizer = replace(
        teacher.tokenizer,
        pad_id=getattr(config.text, "pad_id", None),
        full_rows=kind == "siglip",
    )
    graph, params = split_flat(family.model(config, rngs=nnx.Rngs(0)))
    encoder = DualEncoder(
        f"small {kind}", kind, config, graph, params, teacher.preprocess, tokenizer
    )
    return replace(encoder, params=_taught(encoder, lessons))


def _taught(encoder: DualEncoder, lessons: Lessons) -> dict[str, jax.Array]:
    """The encoder's weights, once both towers say what the lessons do, in mean squares."""
    preprocess, optimizer = encoder.preprocess, make_optimizer(TRAINING)
    mean, std = (jnp.asarray(colours, jnp.float32) for colours in (preprocess.mean, preprocess.std))
    pixels, tokens, images, texts = jax.device_put(
        (lessons.pixels, encoder.tokenizer(lessons.captions), lessons.images, lessons.texts)
    )

    def loss(params: Any, picture_rows: jax.Array, caption_rows: jax.Array) -> jax.Array:
        model = merge_flat(encoder.graph, params)
        shown = pixels[picture_rows].astype(jnp.float32) * jnp.float32(preprocess.scale)
        _, seen = model.encode_image((shown - mean[None, None, None]) / std[None, None, None])
        _, read = model.encode_text(tokens[caption_rows])
        return jnp.mean(jnp.square(seen["projected"] - images[picture_rows])) + jnp.mean(
            jnp.square(read["projected"] - texts[caption_rows])
        )

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array) -> tuple[Any, Any, jax.Array]:
        rows = [
            jax.random.randint(each, (TRAINING.batch_size,), 0, len(what))
            for each, what in zip(jax.random.split(key), (images, texts), strict=True)
        ]
        value, gradients = jax.value_and_grad(loss)(params, *rows)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    params = dict(encoder.params)
    state, total = optimizer.init(params), jnp.float32(0.0)
    for i, key in enumerate(jax.random.split(jax.random.key(TRAINING.seed), TRAINING.steps)):
        params, state, value = step(params, state, key)
        total += value
        if (i + 1) % EVERY == 0:
            print(f"{encoder.family}: step {i + 1}, loss {float(total) / EVERY:.3f}", flush=True)
            total = jnp.float32(0.0)
    return params


def _with_vocabulary(kind: str, size: int) -> dict[str, Any]:
    if kind == "open_clip":
        model = SIZES[kind]["model_cfg"]
        return {"model_cfg": {**model, "text_cfg": {**model["text_cfg"], "vocab_size": size}}}
    text = {**SIZES[kind]["text_config"], "vocab_size": size}
    return {"model_type": kind, **SIZES[kind], "text_config": text}


def fitted(encoder: DualEncoder) -> Model:
    """The quick start's bottleneck on an encoder, with fewer epochs."""
    experiment, train = read_experiment("quickstart"), load_birds("train")
    features = Features.from_arrays(
        encoder.embed_images(train.source.pixels, 64),
        train.labels,
        train.classes,
        annotations=train.annotations,
        annotation_phrases=train.annotation_phrases,
    )
    held = np.arange(len(features)) % 6 == 0
    return fit(
        features.select(~held),
        features.select(held),
        encoder=encoder,
        concepts=ConceptSet.from_file(experiment.concepts),
        config=replace(
            experiment.fit,
            training=replace(experiment.training, epochs=30),
            sparse_head=replace(experiment.sparse_head, path_length=20),
        ),
    )


class Agreement(NamedTuple):
    """One model's labels in both types.

    Attributes:
        pictures: compared.
        same: share of equal labels.
        error: of bfloat16's embeddings, as a share of their spread over pictures (both root mean
            squares).
        accuracy: of float32's labels; a model that always says one class would agree with anything.
    """

    pictures: int
    same: float
    error: float
    accuracy: float


def agreement(model: Model, images: ImageSet) -> Agreement:
    """Compare a model's labels of pictures in both types."""
    wide, narrow = (each.predict(images, 64) for each in (model, model.on(dtype="bfloat16")))
    mean_E = wide.image_embeddings.mean(axis=0)
    error, spread = (
        np.sqrt(np.mean(np.square(wide.image_embeddings - other)))
        for other in (narrow.image_embeddings, mean_E[None])
    )
    return Agreement(
        len(images),
        float(np.mean(wide.label_ids == narrow.label_ids)),
        float(error / spread),
        float(np.mean(wide.label_ids == images.labels)),
    )


def main() -> None:
    """Measure, and write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=["clip", *SIZES], help="families by name")
    for kind in parser.parse_args().only:
        encoder = load_encoder(BUILT_IN) if kind == "clip" else trained_encoder(kind)
        found = agreement(fitted(encoder), load_birds("test"))
        result = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {"families": {}}
        result["families"][kind] = {**found._asdict(), "machine": describe()}
        print(kind, found, flush=True)
        write_json(RESULT, result)


def bfloat16_table(result: Mapping[str, Any]) -> str:
    """What docs/inference.md shows of a result."""
    rows = [
        [
            kind,
            f"{found['pictures']:,}",
            f"{100 * found['same']:.2f} %",
            f"{found['error']:.3f}",
            f"{100 * found['accuracy']:.0f} %",
        ]
        for kind, found in sorted(result["families"].items())
    ]
    return table(["family", "pictures", "labels that agree", "error / spread", "accuracy"], rows)


if __name__ == "__main__":
    main()
