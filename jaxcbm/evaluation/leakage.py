"""Leakage: what concept activations say about the label that their concepts do not.

A concept that is as frequent in every class says nothing about the label: a small network that
reads nothing but such concepts should do no better than chance. What it reaches beyond is carried
by the activations and not by the meaning of their phrases. On the birds such concepts are phrases
of nuisances (`jaxcbm.data.birds.nuisances`).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcbm.bottleneck.minimise import minimise_by_adam
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.errors import UserError


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
        train.

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
    classes = int(max(map(np.max, (train_labels_N, valid_labels_N, test_labels_N)))) + 1
    train, valid, test = (
        (((part - mean_D) * scale_D).astype(np.float32), np.asarray(labels, np.int32))
        for part, labels in (
            (train_NxD, train_labels_N),
            (valid_NxD, valid_labels_N),
            (test_NxD, test_labels_N),
        )
    )
    # The minimiser folds the numbers of its rounds into the same key.
    key = jax.random.fold_in(jax.random.key(seed), epochs)
    params = _init(key, train_NxD.shape[1], hidden, classes)
    fit = minimise_by_adam(
        _loss,
        params,
        train,
        valid,
        learning_rates=dict.fromkeys(params, learning_rate),
        rounds=epochs,
        batch_size=batch_size,
        decay=True,
        seed=seed,
    )
    commonest = np.bincount(train_labels_N).argmax()
    return {
        "top1": _accuracy(fit.params, *test),
        "chance": float(np.mean(test_labels_N == commonest)),
    }


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


def _loss(params: dict, batch: tuple, context: None, key: jax.Array | None) -> jax.Array:
    inputs_BxD, labels_B = batch
    logits_BxK = _logits(params, inputs_BxD)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits_BxK, labels_B)
    return jnp.mean(losses)


def _accuracy(params: dict, inputs_NxD: np.ndarray, labels_N: np.ndarray) -> float:
    logits_NxK = np.asarray(_logits(params, jnp.asarray(inputs_NxD)))
    return float(np.mean(np.argmax(logits_NxK, axis=1) == labels_N))
