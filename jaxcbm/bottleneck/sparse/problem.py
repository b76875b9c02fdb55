"""The data of an elastic-net fit, and what its solver sees of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Rows(NamedTuple):
    """Samples as the solver sees them.

    Attributes:
        inputs: centred activations and one more column, constant, whose coefficients are the
            bias: float32 [N, J], J = D + 1.
        onehot: labels, float32 [K, N]: classes come first everywhere in the solver, because both
            products then run without a transposed copy of the inputs.
        weights: float32 [N]; 0 for padding.
    """

    inputs: jax.Array
    onehot: jax.Array
    weights: jax.Array


class Problem(NamedTuple):
    """What is minimised.

    The solver keeps the logits of its iterates, which are linear in them, so that extrapolating
    costs no product.

    Attributes:
        activations: float [N, D].
        labels: int32 [N].
        weights: float32 [N], sum 1.
        mean: weighted mean of the activations, float32 [D].
        constant: value of the bias column, float32 []: the activations' root mean square.
        frequency: share of each class, float32 [K].
        l1, l2: penalties of |W| and W^2 / 2, float32 [].
        held: weights that stay as they are, bool [K, J]; None: all are free.
    """

    activations: jax.Array
    labels: jax.Array
    weights: jax.Array
    mean: jax.Array
    constant: jax.Array
    frequency: jax.Array
    l1: jax.Array
    l2: jax.Array
    held: jax.Array | None = None

    @property
    def width(self) -> int:
        """J: concepts and the bias column."""
        return self.activations.shape[-1] + 1

    @property
    def rows(self) -> Rows:
        """The samples, centred."""
        # A sample without weight, padding perhaps, must not steer the step size.
        present = self.weights[:, None] > 0
        moved = self.activations.astype(jnp.float32) - self.mean[None, :]
        centred = jnp.where(present, moved, 0.0)
        constant = jnp.broadcast_to(self.constant, (centred.shape[0], 1))
        inputs = jnp.concatenate([centred, constant], axis=1)
        onehot = jax.nn.one_hot(self.labels, self.frequency.size, dtype=jnp.float32, axis=0)
        return Rows(inputs, onehot, self.weights)


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full float32."""
    # Accelerators would round the factors to fewer bits, and the certificate would not hold.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def pose(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    sample_weights: jax.Array | None,
) -> Problem:
    """Normalise the weights and centre (the bias absorbs it); the penalties are still 0."""
    samples = activations_NxD.shape[0]
    weights_N = jnp.ones(samples) if sample_weights is None else sample_weights
    weights_N = weights_N.astype(jnp.float32) / jnp.sum(weights_N.astype(jnp.float32))
    mean_D = matmul(weights_N, activations_NxD.astype(jnp.float32))
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    problem = Problem(
        activations=activations_NxD,
        labels=labels_N,
        weights=weights_N,
        mean=mean_D,
        constant=one,
        frequency=jnp.zeros(num_classes),
        l1=zero,
        l2=zero,
    )
    rows = problem.rows
    centred = rows.inputs[:, :-1]
    square = jnp.sum(rows.weights * jnp.mean(centred * centred, axis=1))
    constant = jnp.where(square > 0, jnp.sqrt(square), 1.0)
    return problem._replace(constant=constant, frequency=matmul(rows.onehot, rows.weights))


def logits_of(problem: Problem, coefficients_KxJ: jax.Array) -> jax.Array:
    """Logits [K, N] of all samples."""
    return matmul(coefficients_KxJ, problem.rows.inputs.T)


def gradient(problem: Problem, logits_KxN: jax.Array) -> jax.Array:
    """The cross-entropy's gradient, [K, J]."""
    rows = problem.rows
    error_KxN = jax.nn.softmax(logits_KxN, axis=0) - rows.onehot
    return matmul(rows.weights[None, :] * error_KxN, rows.inputs)
