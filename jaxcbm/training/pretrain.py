"""Contrastive pre-training of a small dual encoder from image-caption pairs.

References: Radford et al. 2021 (arXiv 2103.00020) for the softmax loss over the global batch;
Zhai et al. 2023 (arXiv 2303.15343) for the sigmoid loss.
"""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from jaxcbm.distributed.placement import place_rows, replicate, spread
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import make_clip
from jaxcbm.flat_params import merge_flat, split_flat
from jaxcbm.training.augment import augment
from jaxcbm.training.loop import Feed, Unit, run
from jaxcbm.training.optimizers import lenient
from jaxcbm.training.step import Metrics, Params, TrainState
from jaxcbm.typed_json import Count, NonNegative, Positive, Whole

# exp(4.6) is about 100, the largest scale that CLIP's training allows.
MAX_LOG_SCALE = 4.6


@dataclass(frozen=True)
class PretrainConfig:
    """How long and with which loss.

    Attributes:
        loss: `softmax` (CLIP) or `sigmoid` (SigLIP), over the global batch.
        steps: updates in all.
        batch_size: pairs a step, over all devices.
        captions_per_step: captions of each image that a step contrasts it with, one set of B
            after the other; more of them say more about an image for little more work.
        learning_rate: peak of the cosine schedule.
        warmup_steps: of linear rise before it.
        weight_decay: on matrices.
        max_shift: images move by up to this many pixels either way.
        flip: mirror half of the images.
        dtype: of the inputs of matrix products; sums and parameters stay float32.
        seed: of parameters, order and augmentation.
        checkpoint_every: steps between checkpoints.
    """

    loss: Literal["softmax", "sigmoid"] = "softmax"
    steps: Count = 3000
    batch_size: Count = 256
    captions_per_step: Count = 1
    learning_rate: Positive = 1e-3
    warmup_steps: Whole = 100
    weight_decay: NonNegative = 0.05
    max_shift: Whole = 4
    flip: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: Whole = 0
    checkpoint_every: Whole = 200


class Pairs(NamedTuple):
    """Image-caption pairs on the device.

    Attributes:
        pixels: uint8 [N (padded), S, S, 3].
        tokens: int32 [N (padded), C, T], C captions an image (short lists repeat).
    """

    pixels: jax.Array
    tokens: jax.Array


def softmax_loss(images_BxE: jax.Array, texts_BxE: jax.Array, scale: jax.Array) -> jax.Array:
    """Symmetric InfoNCE over all pairs of the batch (CLIP, figure 3).

    >>> float(softmax_loss(jnp.eye(2), jnp.eye(2), jnp.float32(100.0)))
    0.0
    """
    logits_BxB = scale * jnp.matmul(images_BxE, texts_BxE.T)
    labels_B = jnp.arange(len(images_BxE))
    cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels
    rows, columns = cross_entropy(logits_BxB, labels_B), cross_entropy(logits_BxB.T, labels_B)
    return (rows.mean() + columns.mean()) / 2


def sigmoid_loss(
    images_BxE: jax.Array, texts_BxE: jax.Array, scale: jax.Array, bias: jax.Array
) -> jax.Array:
    """Every pair of the batch is one binary decision (SigLIP, algorithm 1).

    >>> loss = sigmoid_loss(jnp.eye(2), jnp.eye(2), jnp.float32(40.0), jnp.float32(-20.0))
    >>> bool(loss < 1e-6)
    True
    """
    logits_BxB = scale * jnp.matmul(images_BxE, texts_BxE.T) + bias
    signs_BxB = 2.0 * jnp.eye(len(images_BxE)) - 1.0
    return -jnp.sum(jax.nn.log_sigmoid(signs_BxB * logits_BxB)) / len(images_BxE)


class PretrainPlan(NamedTuple):
    """The static configuration of a pre-training run.

    Attributes:
        graph: of the dual encoder.
        config: loss, length, rates.
        optimizer: of all parameters.
        mean, std: per channel, of pixels in 0 to 1.
        examples: N images.
    """

    graph: nnx.GraphDef
    config: PretrainConfig
    optimizer: optax.GradientTransformation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    examples: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the images; the tail that fills no batch is left out."""
        return max(self.examples // self.config.batch_size, 1)


def loss(
    params: Params, plan: PretrainPlan, pixels: jax.Array, tokens_BxCxT: jax.Array
) -> jax.Array:
    """Contrastive loss of one batch, mean over its C sets of captions; pixels are uint8."""
    trained = dict(params)
    bias = trained.pop("logit_bias")
    clip = merge_flat(plan.graph, trained)
    dtype = jnp.dtype(plan.config.dtype)
    images = pixels.astype(jnp.float32) / 255.0
    mean, std = (jnp.asarray(v, jnp.float32)[None, None, None] for v in (plan.mean, plan.std))
    images_BxE, _ = clip.encode_image((images - mean) / std, dtype)
    batch, sets, length = tokens_BxCxT.shape
    texts_MxE, _ = clip.encode_text(tokens_BxCxT.reshape(-1, length), dtype)
    texts_CxBxE = texts_MxE.reshape(batch, sets, -1).transpose(1, 0, 2)
    scale = jnp.exp(jnp.minimum(params["logit_scale"], MAX_LOG_SCALE))
    if plan.config.loss == "sigmoid":
        return jax.vmap(lambda texts: sigmoid_loss(images_BxE, texts, scale, bias))(
            texts_CxBxE
        ).mean()
    return jax.vmap(lambda texts: softmax_loss(images_BxE, texts, scale))(texts_CxBxE).mean()


def _rows(step: jax.Array, plan: PretrainPlan, key: jax.Array) -> jax.Array:
    """The images of a step: position in a shuffle that depends on the epoch alone."""
    config = plan.config
    order_key = jax.random.fold_in(key, step // plan.steps_per_epoch)
    order = jax.random.permutation(order_key, plan.examples)
    start = (step % plan.steps_per_epoch) * config.batch_size
    return jax.lax.dynamic_slice(order, (start,), (min(config.batch_size, plan.examples),))


def pretrain_step(
    state: TrainState, totals: Metrics, pairs: Pairs, key: jax.Array, *, plan: PretrainPlan
) -> tuple[TrainState, Metrics]:
    """One update; the batch is a function of the seed and the step only."""
    step_key = jax.random.fold_in(key, state.step)
    rows_B = _rows(state.step, plan, key)
    augment_key, caption_key = jax.random.split(step_key)
    pixels = spread(pairs.pixels[rows_B], "data")
    config = plan.config
    pixels = augment(pixels, augment_key, max_shift=config.max_shift, flip=config.flip)
    captions = pairs.tokens.shape[1]
    first_B = jax.random.randint(caption_key, rows_B.shape, 0, captions)
    following_C = jnp.arange(min(config.captions_per_step, captions))
    choice_BxC = (first_B[:, None] + following_C[None, :]) % captions
    tokens_BxCxT = spread(pairs.tokens[rows_B[:, None], choice_BxC], "data")
    value, gradients = jax.value_and_grad(loss)(state.params, plan, pixels, tokens_BxCxT)
    updates, opt_state = plan.optimizer.update(gradients, state.opt_state, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    return TrainState(params, opt_state, state.step + 1), {"loss": totals["loss"] + value}


def make_optimizer(config: PretrainConfig) -> optax.GradientTransformation:
    """AdamW with a clipped gradient norm; only matrices decay."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, config.warmup_steps, max(config.steps, config.warmup_steps + 1)
    )

    def matrices(params: dict) -> dict:
        return {path: value.ndim >= 2 for path, value in params.items()}

    return lenient(
        optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, b2=0.98, weight_decay=config.weight_decay, mask=matrices),
        )
    )


def pretrain(
    pixels: np.ndarray,
    tokens: np.ndarray,
    clip_config: ClipConfig,
    config: PretrainConfig,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    mesh: Mesh,
    workdir: Path,
) -> Params:
    """Train a dual encoder from scratch; a killed run resumes at its newest checkpoint.

    Args:
        pixels: uint8 [N, S, S, 3].
        tokens: int32 [N, C, T]: C captions an image.
        clip_config: sizes of the towers.
        config: loss, length, rates.
        mean: per channel, of pixels in 0 to 1.
        std: per channel.
        mesh: the batch lies over its `data` axis.
        workdir: for checkpoints/ and metrics.jsonl.

    Returns:
        Flat parameters of the CLIP.
    """
    graph, params = split_flat(make_clip(clip_config, rngs=nnx.Rngs(params=config.seed)))
    # A bias shifts every score of the sigmoid loss alike; it is trained and then left behind.
    params = params | {"logit_bias": jnp.float32(-10.0)}
    plan = PretrainPlan(graph, config, make_optimizer(config), mean, std, len(pixels))
    state = TrainState(params, plan.optimizer.init(params), jnp.zeros((), jnp.int32))
    pairs = Pairs(place_rows(pixels, mesh), place_rows(tokens, mesh))
    progress = run(
        pair_feed(plan, pairs, mesh),
        replicate(jax.tree.map(jnp.copy, state), mesh),
        mesh,
        steps=config.steps,
        checkpoint_every=config.checkpoint_every,
        workdir=workdir,
    )
    trained = progress.state.params
    return {path: value for path, value in trained.items() if path != "logit_bias"}


def pair_feed(plan: PretrainPlan, pairs: Pairs, mesh: Mesh) -> Feed:
    """Batches of pairs that lie on the mesh; a step is a unit."""
    key = replicate(jax.random.key(plan.config.seed), mesh)
    unit = Unit(1, (pairs, key))
    return Feed(
        units=lambda epoch, first, last: itertools.repeat(unit, last - first),
        step=jax.jit(functools.partial(pretrain_step, plan=plan), donate_argnums=0),
        metrics=("loss",),
        measure=None,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=plan.config.batch_size,
    )
