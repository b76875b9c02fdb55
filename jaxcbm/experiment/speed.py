"""How fast this machine encodes, trains and predicts, with jaxcbm's own functions."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import place_rows, replicate
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import make_clip
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.load import load_encoder
from jaxcbm.flat_params import split_flat
from jaxcbm.model.random_model import random_model
from jaxcbm.training.config import FitConfig, TrainingConfig
from jaxcbm.training.feeds import compile_epoch
from jaxcbm.training.state import place_state, state_shardings
from jaxcbm.training.step import METRICS, TrainData, make_plan


class SpeedSizes(NamedTuple):
    """How much of each is measured.

    Attributes:
        images: train images with synthetic embeddings.
        concepts: D.
        classes: K.
        batch: images a train step and, for each device, an encode step.
        repeats: timed predictions.
        seconds: how long encoding and training are each timed, at least.
    """

    images: int = 16_384
    concepts: int = 512
    classes: int = 200
    batch: int = 512
    encode_batch: int = 32
    repeats: int = 50
    seconds: float = 3.0


QUICK = SpeedSizes(512, 32, 10, 64, 8, 5, 0.1)


class Speed(NamedTuple):
    """One measured number.

    Attributes:
        name: what was measured: `encode`, `train` or `predict`.
        what: the same in words, with sizes.
        value: the number.
        unit: of the number.
    """

    name: str
    what: str
    value: float
    unit: str


def random_encoder(*, small: bool = False, dtype: str = "float32") -> DualEncoder:
    """CLIP ViT-B/32 with random weights, or a toy of the same kind; only pictures go through it."""
    said: dict[str, Any] = {"vision_config": {}, "text_config": {}, "projection_dim": 512}
    if small:
        tower = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
        tower["num_hidden_layers"] = 2
        said = {"vision_config": {**tower, "image_size": 32, "patch_size": 16}}
        said |= {"text_config": tower, "projection_dim": 32}
    config = ClipConfig.from_hf({"model_type": "clip", **said})
    graph, params = split_flat(make_clip(config, rngs=nnx.Rngs(0)))
    preprocess = Preprocess.square(config.vision.image_size)
    name = "random toy" if small else "random ViT-B/32"
    # Any tokenizer: no text goes through it.
    tokenizer = load_encoder("jaxcbm/tiny").tokenizer
    return DualEncoder(name, "clip", config, graph, params, preprocess, tokenizer, dtype)


def encode_speed(encoder: DualEncoder, sizes: SpeedSizes) -> list[Speed]:
    """Images a second through the image tower, over all devices; decoding files is not in it."""
    batch = sizes.encode_batch * jax.device_count()
    spread = encoder.on_mesh(make_mesh())
    size = encoder.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (2 * batch, size, size, 3), np.uint8)
    spread.embed_pixels(pixels, batch)
    taken = _median_seconds(lambda: spread.embed_pixels(pixels, batch), sizes.seconds)
    what = f"{encoder.name}, {encoder.dtype}, {size} px, batches of {batch}"
    return [Speed("encode", what, len(pixels) / taken, "images/s")]


def train_speed(width: int, sizes: SpeedSizes) -> list[Speed]:
    """Steps a second of the default objective, from embeddings on the device, over all devices.

    Args:
        width: E of the embeddings.
        sizes: N, D, K and the batch.
    """
    rng, mesh = np.random.default_rng(0), make_mesh()
    config = FitConfig(training=TrainingConfig(epochs=1, batch_size=sizes.batch))
    structure, params = build_bottleneck(config.bottleneck, width, sizes.concepts, sizes.classes)
    base_ExD = rng.standard_normal((width, sizes.concepts), np.float32)
    data = TrainData(
        inputs=place_rows(rng.standard_normal((sizes.images, width), np.float32), mesh),
        labels=place_rows(rng.integers(0, sizes.classes, sizes.images).astype(np.int32), mesh),
        base_kernel=replicate(base_ExD, mesh),
    )
    plan = make_plan(structure, config, sizes.images)
    shardings = state_shardings(plan, params, mesh)
    state, key = place_state(plan, params, shardings), jax.random.key(0)
    totals = replicate({name: jnp.zeros(()) for name in METRICS}, mesh)
    with jax.set_mesh(mesh):
        epoch = compile_epoch(plan, shardings, mesh)

        def work() -> None:
            nonlocal state
            state, sums = epoch(state, totals, data, key)
            jax.block_until_ready((state, sums))

        work()
        taken = _median_seconds(work, sizes.seconds)
    what = f"E = {width}, D = {sizes.concepts}, K = {sizes.classes}, batches of {plan.batch_size}"
    return [Speed("train", what, plan.steps_per_epoch / taken, "steps/s")]


def predict_speed(encoder: DualEncoder, sizes: SpeedSizes) -> list[Speed]:
    """How long one picture takes from pixels to class logits: the median and the slow end."""
    size, model = encoder.image_size, random_model(encoder, sizes.concepts, sizes.classes)
    picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)

    run = jax.jit(model.apply)

    def work() -> None:
        jax.device_get(run(model.weights, picture))

    work()
    taken = [_seconds(work) for _ in range(sizes.repeats)]
    what = f"one picture, {encoder.name}, D = {sizes.concepts}, {sizes.repeats} times"
    return [
        Speed("predict", f"{what}, p{q}", 1e3 * float(np.percentile(taken, q)), "ms")
        for q in (50, 99)
    ]


def _median_seconds(work: Callable[[], Any], at_least: float) -> float:
    """The median time of as many runs as fill some seconds, three at least."""
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < at_least:
        taken.append(_seconds(work))
    return float(np.median(taken))


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
