"""The data of an elastic-net fit, and sums over its samples, at once or block by block."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.scores import InputMap

Sums = TypeVar("Sums")


class Rows(NamedTuple):
    """Samples as the solver sees them.

    Attributes:
        inputs: centred activations and one more column, constant, whose coefficients are the
            bias: float32 [B, J], J = D + 1.
        onehot: labels, float32 [K, B]: classes come first everywhere in the solver, because both
            products then run without a transposed copy of the inputs.
        weights: float32 [B]; 0 for padding.
    """

    inputs: jax.Array
    onehot: jax.Array
    weights: jax.Array


class Problem(NamedTuple):
    """What is minimised. Arrays over samples are [blocks, B, ...].

    With a single block the solver keeps the logits of its iterates, which are linear in them, so
    that extrapolating costs no product. With several, nothing of size N x K or N x D ever exists.

    Attributes:
        features: float [blocks, B, E]: the activations, or what `kernel` makes them from.
        labels: int32 [blocks, B].
        weights: float32 [blocks, B], sum 1.
        kernel: float32 [E, D], or None: features are the activations.
        mean: weighted mean of the features, float32 [E].
        constant: value of the bias column, float32 []: the activations' root mean square.
        frequency: share of each class, float32 [K].
        l1, l2: penalties of |W| and W^2 / 2, float32 [].
    """

    features: jax.Array
    labels: jax.Array
    weights: jax.Array
    kernel: jax.Array | None
    mean: jax.Array
    constant: jax.Array
    frequency: jax.Array
    l1: jax.Array
    l2: jax.Array

    @property
    def in_one_block(self) -> bool:
        """Whether all samples are held at once."""
        return self.features.shape[0] == 1

    @property
    def width(self) -> int:
        """J: concepts and the bias column."""
        return (self.features if self.kernel is None else self.kernel).shape[-1] + 1


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full float32."""
    # Accelerators would round the factors to fewer bits, and the certificate would not hold.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def pose(
    features_NxE: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    sample_weights: jax.Array | None,
    mapping: InputMap | None = None,
    block: int | None = None,
) -> tuple[Problem, jax.Array]:
    """Normalise the weights, centre (the bias absorbs it) and cut into blocks.

    Returns:
        (problem without penalties, mean activations [D]).
    """
    samples = features_NxE.shape[0]
    weights_N = jnp.ones(samples) if sample_weights is None else sample_weights
    weights_N = weights_N.astype(jnp.float32) / jnp.sum(weights_N.astype(jnp.float32))
    mean_E = matmul(weights_N, features_NxE.astype(jnp.float32))
    kernel = None if mapping is None else mapping.kernel
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    problem = Problem(
        features=_cut(features_NxE, block),
        labels=_cut(labels_N, block),
        weights=_cut(weights_N, block),
        kernel=kernel,
        mean=mean_E,
        constant=one,
        frequency=jnp.zeros(num_classes),
        l1=zero,
        l2=zero,
    )

    def moments(rows: Rows) -> tuple[jax.Array, jax.Array]:
        activations = rows.inputs[:, :-1]
        square_B = jnp.mean(activations * activations, axis=1)
        return jnp.sum(rows.weights * square_B), matmul(rows.onehot, rows.weights)

    square, frequency_K = sum_rows(problem, moments)
    constant = jnp.where(square > 0, jnp.sqrt(square), 1.0)
    mean_D = mean_E if kernel is None else matmul(mean_E, kernel)
    if mapping is not None:
        mean_D = mean_D + mapping.bias
    return problem._replace(constant=constant, frequency=frequency_K), mean_D


def sum_rows(
    problem: Problem,
    summand: Callable[..., Sums],
    coefficients: tuple[jax.Array, ...] = (),
    logits: tuple[jax.Array | None, ...] = (),
) -> Sums:
    """Sum `summand(rows, *logits [K, B])` over all blocks.

    Args:
        problem: the samples.
        summand: returns a pytree of sums over the samples it is given.
        coefficients: [K, J] each; their logits are what the summand is given.
        logits: the same logits, where they are known [K, N].
    """
    if problem.in_one_block:
        return summand(_rows(problem, *(x[0] for x in _blocks(problem))), *logits)

    def at(block: tuple[jax.Array, ...]) -> Sums:
        rows = _rows(problem, *block)
        return summand(rows, *(matmul(each, rows.inputs.T) for each in coefficients))

    shapes = jax.eval_shape(lambda: at(tuple(x[0] for x in _blocks(problem))))
    empty = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def add(total: Sums, block: tuple[jax.Array, ...]) -> tuple[Sums, None]:
        return jax.tree.map(jnp.add, total, at(block)), None

    total, _ = jax.lax.scan(add, empty, _blocks(problem))
    return total


def logits_of(problem: Problem, coefficients_KxJ: jax.Array) -> jax.Array | None:
    """Logits [K, N] of all samples; None where they are not kept."""
    if not problem.in_one_block:
        return None
    rows = _rows(problem, *(x[0] for x in _blocks(problem)))
    return matmul(coefficients_KxJ, rows.inputs.T)


def gradient_sum(rows: Rows, logits_KxB: jax.Array) -> jax.Array:
    """The cross-entropy's gradient, [K, J]."""
    error_KxB = jax.nn.softmax(logits_KxB, axis=0) - rows.onehot
    return matmul(rows.weights[None, :] * error_KxB, rows.inputs)


def _blocks(problem: Problem) -> tuple[jax.Array, jax.Array, jax.Array]:
    return problem.features, problem.labels, problem.weights


def _rows(problem: Problem, features: jax.Array, labels: jax.Array, weights: jax.Array) -> Rows:
    # A sample without weight, padding perhaps, must not steer the step size.
    present = weights[:, None] > 0
    centred = jnp.where(present, features.astype(jnp.float32) - problem.mean[None, :], 0.0)
    activations = centred if problem.kernel is None else matmul(centred, problem.kernel)
    constant = jnp.broadcast_to(problem.constant, (features.shape[0], 1))
    inputs = jnp.concatenate([activations, constant], axis=1)
    onehot = jax.nn.one_hot(labels, problem.frequency.size, dtype=jnp.float32, axis=0)
    return Rows(inputs, onehot, weights)


def _cut(array: jax.Array, block: int | None) -> jax.Array:
    """[N, ...] to [blocks, B, ...], padded with zeros; None: one block."""
    samples = array.shape[0]
    size = samples if block is None else min(block, samples)
    padding = [(0, -samples % size)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(-1, size, *array.shape[1:])
