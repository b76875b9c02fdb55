"""Leakage: what concept activations say about the label that their concepts do not.

A concept that is as frequent in every class says nothing about the label: a small network that
reads nothing but such concepts should do no better than chance. What it reaches beyond is carried
by the activations and not by the meaning of their phrases. On the birds such concepts are phrases
of nuisances (`jaxcbm.data.birds.nuisances`).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.errors import UserError


class Split(NamedTuple):
    """Standardised activations and labels of some images."""

    inputs_NxD: jax.Array
    labels_N: jax.Array


def leakage(
    train_NxD: np.ndarray,
    train_labels_N: np.ndarray,
    valid_NxD: np.ndarray,
    valid_labels_N: np.ndarray,
    test_NxD: np.ndarray,
    test_labels_N: np.ndarray,
    *,
    hidden: int = 64,
    epochs: int = 100,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> dict[str, float]:
    """The accuracy that a small network reaches from some concept activations alone.

    One hidden layer, Adam, and the epoch with the lowest validation loss.

    Args:
        train_NxD: activations of the concepts in question (best those without label information),
            any scale; they are standardised with train statistics.
        train_labels_N: int [N] from 0.
        valid_NxD, valid_labels_N: choose the epoch.
        test_NxD, test_labels_N: what the accuracy is of.
        hidden: width of the network.
        epochs: at most.
        batch_size: images a step.
        learning_rate: of Adam, falling to zero along a cosine.
        seed: of parameters and shuffles.

    Returns:
        `top1`: on test, 0 to 1; `chance`: of always saying the class that is most frequent in
        train; `standard_error` of top1 from the number of test images; `valid_top1`; `epoch`: the
        chosen one, 0 for the untrained network.

    Raises:
        UserError: a split without images, or no concepts.

    Reference: Mahinpei et al. 2021 (arXiv 2106.13314) for leakage.

    >>> rng, labels = np.random.default_rng(0), np.arange(300) % 2
    >>> told = labels[:, None] + rng.normal(0, 0.1, (300, 1))
    >>> found = leakage(told, labels, told, labels, told, labels, epochs=20)
    >>> found["top1"], found["chance"]
    (1.0, 0.5)
    """
    splits = {"train": train_NxD, "valid": valid_NxD, "test": test_NxD}
    for name, part in splits.items():
        if part.shape[0] == 0 or part.shape[1] == 0:
            raise UserError(
                f"leakage: {name} holds {part.shape[0]} images, {part.shape[1]} concepts"
            )
    mean_D, scale_D = unit_scale(train_NxD)
    labels = {"train": train_labels_N, "valid": valid_labels_N, "test": test_labels_N}
    placed = {
        name: Split(
            jnp.asarray(((part - mean_D) * scale_D).astype(np.float32)),
            jnp.asarray(labels[name], jnp.int32),
        )
        for name, part in splits.items()
    }
    valid_top1, test_top1, epoch = _fit(
        placed,
        jax.random.key(seed),
        jnp.float32(learning_rate),
        classes=int(max(np.max(x) for x in labels.values())) + 1,
        hidden=hidden,
        epochs=epochs,
        batch_size=min(batch_size, len(train_labels_N)),
    )
    top1 = float(test_top1)
    commonest = np.bincount(train_labels_N).argmax()
    return {
        "top1": top1,
        "chance": float(np.mean(test_labels_N == commonest)),
        "standard_error": float(np.sqrt(top1 * (1 - top1) / len(test_labels_N))),
        "valid_top1": float(valid_top1),
        "epoch": float(epoch),
    }


@partial(jax.jit, static_argnames=("classes", "hidden", "epochs", "batch_size"))
def _fit(
    splits: dict[str, Split],
    key: jax.Array,
    learning_rate: jax.Array,
    *,
    classes: int,
    hidden: int,
    epochs: int,
    batch_size: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Validation and test accuracy at the best epoch, and that epoch."""
    train, valid, test = splits["train"], splits["valid"], splits["test"]
    images, concepts = train.inputs_NxD.shape
    steps = images // batch_size
    init_key, shuffle_key = jax.random.split(key)
    params = _init(init_key, concepts, hidden, classes)
    optimizer = optax.scale_by_adam()

    def step(carry: tuple, rows_B: jax.Array) -> tuple[tuple, None]:
        params, state, count = carry
        gradient = jax.grad(_loss)(params, jax.tree.map(lambda x: x[rows_B], train))
        # optax raises integer step counts to floats.
        with jax.numpy_dtype_promotion("standard"):
            direction, state = optimizer.update(gradient, state)
        done = count.astype(jnp.float32) / (steps * epochs)
        rate = learning_rate * 0.5 * (1.0 + jnp.cos(jnp.pi * done))
        params = jax.tree.map(lambda p, d: p - rate * d, params, direction)
        return (params, state, count + 1), None

    def one_epoch(carry: tuple, epoch: jax.Array) -> tuple[tuple, None]:
        training, best = carry
        order = jax.random.permutation(jax.random.fold_in(shuffle_key, epoch), images)
        batches = order[: steps * batch_size].reshape(steps, batch_size)
        training, _ = jax.lax.scan(step, training, batches)
        loss = _loss(training[0], valid)
        now = (loss, epoch, training[0])
        return (training, jax.tree.map(partial(jnp.where, loss < best[0]), now, best)), None

    start = (_loss(params, valid), jnp.int32(0), params)
    training = (params, optimizer.init(params), jnp.int32(0))
    numbers = jnp.arange(1, epochs + 1, dtype=jnp.int32)
    (_, (_, epoch, params)), _ = jax.lax.scan(one_epoch, (training, start), numbers)
    return _accuracy(params, valid), _accuracy(params, test), epoch


def _init(key: jax.Array, concepts: int, hidden: int, classes: int) -> dict[str, jax.Array]:
    first, second = jax.random.split(key)
    return {
        "in": jax.random.normal(first, (concepts, hidden)) * (2.0 / concepts) ** 0.5,
        "in_bias": jnp.zeros(hidden),
        "out": jax.random.normal(second, (hidden, classes)) * hidden**-0.5,
        "out_bias": jnp.zeros(classes),
    }


def _logits(params: dict[str, jax.Array], inputs_NxD: jax.Array) -> jax.Array:
    hidden = jax.nn.relu(jnp.matmul(inputs_NxD, params["in"]) + params["in_bias"][None, :])
    return jnp.matmul(hidden, params["out"]) + params["out_bias"][None, :]


def _loss(params: dict[str, jax.Array], split: Split) -> jax.Array:
    logits_NxK = _logits(params, split.inputs_NxD)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits_NxK, split.labels_N)
    return jnp.mean(losses)


def _accuracy(params: dict[str, jax.Array], split: Split) -> jax.Array:
    right_N = jnp.argmax(_logits(params, split.inputs_NxD), axis=1) == split.labels_N
    return jnp.mean(right_N.astype(jnp.float32))
