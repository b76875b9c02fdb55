"""Contrastive pre-training of a small dual encoder from image-caption pairs.

References: Radford et al. 2021 (arXiv 2103.00020) for the softmax loss over the global batch;
Zhai et al. 2023 (arXiv 2303.15343) for the sigmoid loss.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from jaxcbm.distributed.placement import place_rows, replicate
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import make_clip
from jaxcbm.flat_params import merge_flat, split_flat
from jaxcbm.training.checkpoints import Checkpoints
from jaxcbm.training.metrics_log import MetricsLog
from jaxcbm.training.optimizers import lenient

Params = dict[str, jax.Array]

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
        learning_rate: peak of the cosine schedule, after `warmup_steps` of linear rise.
        weight_decay: on matrices.
        max_shift: images move by up to this many pixels either way.
        flip: mirror half of the images.
        dtype: of the inputs of matrix products; sums and parameters stay float32.
        seed: of parameters, order and augmentation.
        chunk: steps in one compiled call; checkpoints come after whole chunks.
        checkpoint_every: steps between checkpoints.
    """

    loss: Literal["softmax", "sigmoid"] = "softmax"
    steps: int = 3000
    batch_size: int = 256
    captions_per_step: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.05
    max_shift: int = 4
    flip: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    chunk: int = 20
    checkpoint_every: int = 200


class Pairs(NamedTuple):
    """Image-caption pairs on the device.

    Attributes:
        pixels: uint8 [N (padded), S, S, 3].
        tokens: int32 [N (padded), C, T], C captions an image (short lists repeat).
    """

    pixels: jax.Array
    tokens: jax.Array


class State(NamedTuple):
    """What a step changes."""

    params: Params
    opt_state: Any
    step: jax.Array


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


def augment(pixels_BxSxSx3: jax.Array, key: jax.Array, *, max_shift: int, flip: bool) -> jax.Array:
    """Shift each image by whole pixels (edges repeat) and mirror half of them."""
    batch, size = pixels_BxSxSx3.shape[:2]
    shift_key, flip_key = jax.random.split(key)
    if max_shift:
        shifts_Bx2 = jax.random.randint(shift_key, (batch, 2), -max_shift, max_shift + 1)
        where = jnp.arange(size)
        rows_BxS = jnp.clip(where[None, :] + shifts_Bx2[:, :1], 0, size - 1)
        columns_BxS = jnp.clip(where[None, :] + shifts_Bx2[:, 1:], 0, size - 1)
        move = jax.vmap(lambda image, rows, columns: image[rows][:, columns])
        pixels_BxSxSx3 = move(pixels_BxSxSx3, rows_BxS, columns_BxS)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, 0.5, (batch, 1, 1, 1))
        pixels_BxSxSx3 = jnp.where(mirrored, pixels_BxSxSx3[:, :, ::-1], pixels_BxSxSx3)
    return pixels_BxSxSx3


class Task(NamedTuple):
    """The static part of a pre-training run."""

    graph: nnx.GraphDef
    config: PretrainConfig
    optimizer: optax.GradientTransformation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    examples: int


def loss(params: Params, task: Task, pixels: jax.Array, tokens_BxCxT: jax.Array) -> jax.Array:
    """Contrastive loss of one batch, mean over its C sets of captions; pixels are uint8."""
    trained = dict(params)
    bias = trained.pop("logit_bias")
    clip = merge_flat(task.graph, trained)
    dtype = jnp.dtype(task.config.dtype)
    images = pixels.astype(jnp.float32) / 255.0
    mean, std = (jnp.asarray(v, jnp.float32)[None, None, None] for v in (task.mean, task.std))
    images_BxE, _ = clip.encode_image((images - mean) / std, dtype)
    batch, sets, length = tokens_BxCxT.shape
    texts_MxE, _ = clip.encode_text(tokens_BxCxT.reshape(-1, length), dtype)
    texts_CxBxE = texts_MxE.reshape(batch, sets, -1).transpose(1, 0, 2)
    scale = jnp.exp(jnp.minimum(params["logit_scale"], MAX_LOG_SCALE))
    if task.config.loss == "sigmoid":
        return jax.vmap(lambda texts: sigmoid_loss(images_BxE, texts, scale, bias))(
            texts_CxBxE
        ).mean()
    return jax.vmap(lambda texts: softmax_loss(images_BxE, texts, scale))(texts_CxBxE).mean()


def _rows(step: jax.Array, task: Task, key: jax.Array) -> jax.Array:
    """The images of a step: position in a shuffle that depends on the epoch alone."""
    config = task.config
    per_epoch = max(task.examples // config.batch_size, 1)
    order_key = jax.random.fold_in(key, step // per_epoch)
    order = jax.random.permutation(order_key, task.examples)
    start = (step % per_epoch) * config.batch_size
    return jax.lax.dynamic_slice(order, (start,), (min(config.batch_size, task.examples),))


def train_step(
    state: State, pairs: Pairs, key: jax.Array, *, task: Task
) -> tuple[State, jax.Array]:
    """One update; the batch is a function of the seed and the step only."""
    step_key = jax.random.fold_in(key, state.step)
    rows_B = _rows(state.step, task, key)
    augment_key, caption_key = jax.random.split(step_key)
    pixels = _over_data(pairs.pixels[rows_B])
    config = task.config
    pixels = augment(pixels, augment_key, max_shift=config.max_shift, flip=config.flip)
    captions = pairs.tokens.shape[1]
    first_B = jax.random.randint(caption_key, rows_B.shape, 0, captions)
    following_C = jnp.arange(min(config.captions_per_step, captions))
    choice_BxC = (first_B[:, None] + following_C[None, :]) % captions
    tokens_BxCxT = _over_data(pairs.tokens[rows_B[:, None], choice_BxC])
    value, gradients = jax.value_and_grad(loss)(state.params, task, pixels, tokens_BxCxT)
    updates, opt_state = task.optimizer.update(gradients, state.opt_state, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    return State(params, opt_state, state.step + 1), value


def _over_data(array: jax.Array) -> jax.Array:
    if jax.sharding.get_abstract_mesh().empty:
        return array
    return jax.lax.with_sharding_constraint(array, PartitionSpec("data"))


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
    report: Callable[[str], None] = logging.info,
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
        report: told the loss and the rate now and then.

    Returns:
        Flat parameters of the CLIP.
    """
    graph, params = split_flat(make_clip(clip_config, rngs=nnx.Rngs(params=config.seed)))
    # A bias shifts every score of the sigmoid loss alike; it is trained and then left behind.
    params = params | {"logit_bias": jnp.float32(-10.0)}
    task = Task(graph, config, make_optimizer(config), mean, std, len(pixels))
    state = State(params, task.optimizer.init(params), jnp.zeros((), jnp.int32))
    state = replicate(state, mesh)
    with Checkpoints(workdir / "checkpoints") as checkpoints, jax.set_mesh(mesh):
        if found := checkpoints.restore(state):
            state = found[0]
            report(f"resuming after step {int(state.step)}")
        log = MetricsLog(workdir / "metrics.jsonl", int(state.step))
        pairs = Pairs(place_rows(pixels, mesh), place_rows(tokens, mesh))
        state = _loop(state, pairs, task, checkpoints, log, report)
    return {path: value for path, value in state.params.items() if path != "logit_bias"}


def _loop(
    state: State,
    pairs: Pairs,
    task: Task,
    checkpoints: Checkpoints,
    log: MetricsLog,
    report: Callable[[str], None],
) -> State:
    config = task.config
    key = jax.random.key(config.seed)
    one = functools.partial(train_step, task=task)

    @functools.partial(jax.jit, donate_argnums=0, static_argnums=2)
    def some_steps(state: State, pairs: Pairs, steps: int) -> tuple[State, jax.Array]:
        return jax.lax.scan(lambda state, _: one(state, pairs, key), state, length=steps)

    started, first = time.monotonic(), int(state.step)
    while (step := int(state.step)) < config.steps:
        state, losses = some_steps(state, pairs, min(config.chunk, config.steps - step))
        done = int(state.step)
        log.write(done, "train", {"loss": float(losses.mean())})
        rate = (done - first) / (time.monotonic() - started)
        left = (config.steps - done) / rate
        report(
            f"step {done}/{config.steps}: loss {float(losses.mean()):.3f}, "
            f"{rate:.2f} steps/s, {left / 60:.0f} min left"
        )
        if done // config.checkpoint_every > step // config.checkpoint_every:
            checkpoints.save(done, state, {})
    if checkpoints.latest_step != config.steps:
        checkpoints.save(config.steps, state, {})
    return state
