"""The quadratic model that one step of the elastic net minimises.

A plain proximal method models the loss by a ball: one curvature for all directions. Concept
activations are strongly correlated, so that the ball is a hundred times too round. Here the model
is the activations' own covariance, weighted by how undecided each sample is; its minimiser with the
penalty has no closed form, but costs only products of size D x D, which do not grow with the data.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.proximal import soft_threshold
from jaxcbm.bottleneck.sparse.problem import Problem, matmul

# Beyond it the matrix would be larger than the data is likely to be.
_LARGEST_GRAM = 8192
# Matrices for every class may take so many times the memory of the activations.
_LARGEST_GRAMS = 2
_INNER_STEPS = 20
# The share of its mean curvature that a sample keeps however sure of it the model is: it may
# change sides.
_FLOOR = 0.1


class Metric(NamedTuple):
    """Curvature of the model, at most: v -> v gram v' / step.

    Attributes:
        gram: float32 [J, J], or one a class [K, J, J], or None: `largest` times the identity.
        largest: its largest eigenvalue, or a little more: [], or [K, 1].
    """

    gram: jax.Array | None
    largest: jax.Array

    def times(self, coefficients_KxJ: jax.Array) -> jax.Array:
        """coefficients @ gram."""
        if self.gram is None:
            return self.largest * coefficients_KxJ
        if self.gram.ndim == 2:
            return matmul(coefficients_KxJ, self.gram)
        return matmul(coefficients_KxJ[:, None, :], self.gram)[:, 0, :]

    def product(self, one_KxJ: jax.Array, other_KxJ: jax.Array) -> jax.Array:
        """The inner product of two sets of coefficients."""
        return jnp.sum(self.times(one_KxJ) * other_KxJ)


def shared_metric(problem: Problem, logits_KxN: jax.Array) -> Metric:
    """One covariance of the inputs for all classes; costs J / K times what one iteration costs.

    Each sample is weighted by its largest curvature or more: the Hessian of its cross-entropy is
    diag(p) - p p', whose eigenvalues are at most its trace 1 - |p|^2.
    """
    rows, p = problem.rows, jax.nn.softmax(logits_KxN, axis=0)
    curvature_N = rows.weights * (jnp.maximum(1 - jnp.sum(p * p, axis=0), 0.0) + _FLOOR)
    if problem.width <= _LARGEST_GRAM:
        gram_JxJ = matmul((curvature_N[:, None] * rows.inputs).T, rows.inputs)
        return Metric(gram_JxJ, _largest(lambda v: matmul(gram_JxJ, v), problem.width))

    def multiply(vector_J: jax.Array) -> jax.Array:
        return matmul(curvature_N * matmul(rows.inputs, vector_J), rows.inputs)

    return Metric(None, _largest(multiply, problem.width))


def has_class_metric(problem: Problem) -> bool:
    """Whether a covariance for every class is small beside the activations."""
    samples = problem.weights.size
    fits = problem.frequency.size * problem.width <= _LARGEST_GRAMS * samples
    return fits and problem.width <= _LARGEST_GRAM


def class_metric(problem: Problem, logits_KxN: jax.Array) -> Metric:
    """A covariance for each class; costs as much as J / 2 iterations.

    A class is curved where it is undecided, by p (1 - p): half of the bound that Gershgorin's
    theorem gives, which the step size makes up for.
    """
    rows, p = problem.rows, jax.nn.softmax(logits_KxN, axis=0)
    floor_K = _FLOOR * matmul(p * (1 - p), rows.weights) + 1e-7
    weights_KxN = rows.weights[None, :] * (p * (1 - p) + floor_K[:, None])

    def gram(weights_N: jax.Array) -> jax.Array:
        return matmul((weights_N[:, None] * rows.inputs).T, rows.inputs)

    gram_KxJxJ = jax.lax.map(gram, weights_KxN)
    largest_K = jax.vmap(lambda gram: _largest(lambda v: matmul(gram, v), problem.width))(
        gram_KxJxJ
    )
    return Metric(gram_KxJxJ, largest_K[:, None])


def minimise(
    problem: Problem,
    metric: Metric,
    start_KxJ: jax.Array,
    gradient_KxJ: jax.Array,
    step: jax.Array,
) -> jax.Array:
    """argmin over v of <gradient, v> + |v - start|^2 / (2 step) + penalty(v), approximately."""
    rate = 1.0 / metric.largest
    penalised = jnp.ones(problem.width).at[-1].set(0.0)[None, :]
    l1, l2 = rate * step * problem.l1 * penalised, rate * step * problem.l2 * penalised

    def proximal_step(v: jax.Array) -> jax.Array:
        slope = step * gradient_KxJ + metric.times(v - start_KxJ)
        moved = soft_threshold(v - rate * slope, l1) / (1 + l2)
        return moved if problem.held is None else jnp.where(problem.held, start_KxJ, moved)

    if metric.gram is None:
        return proximal_step(start_KxJ)

    def accelerated(_, carry: tuple) -> tuple:
        now, ahead, momentum = carry
        new = proximal_step(ahead)
        uphill = jnp.sum((ahead - new) * (new - now)) > 0
        grown = 0.5 + jnp.sqrt(0.25 + momentum * momentum)
        beta = jnp.where(uphill, 0.0, (momentum - 1) / grown)
        return new, new + beta * (new - now), jnp.where(uphill, 1.0, grown)

    first = (start_KxJ, start_KxJ, jnp.ones((), jnp.float32))
    return jax.lax.fori_loop(0, _INNER_STEPS, accelerated, first)[0]


def curvature_bound(problem: Problem, logits: jax.Array, changed: jax.Array) -> jax.Array:
    """An upper bound, free of cancellation, of the loss at `changed` over its tangent at `logits`.

    For a change of range r in a sample's logits, log-sum-exp rises over its tangent by at most
    v (exp(r) - 1 - r) / r^2, where v is the variance of the change under the softmax; and by at
    most r^2 / 8 (its second derivative is the variance of a variable of range r).
    """
    change = changed - logits
    probabilities = jax.nn.softmax(logits, axis=0)
    mean = jnp.sum(probabilities * change, axis=0, keepdims=True)
    variance = jnp.sum(probabilities * (change - mean) ** 2, axis=0)
    # Absent classes keep probability 0 and do not move.
    spread = jnp.max(change, axis=0) - jnp.min(change, axis=0)
    large = jnp.clip(spread, 0.1, 20.0)
    series = 0.5 + spread / 6 + spread**2 / 24
    growth = jnp.where(spread < 0.1, series, (jnp.expm1(large) - large) / large**2)
    first = jnp.where(spread > 20.0, jnp.inf, variance * growth)
    return jnp.sum(problem.weights * jnp.minimum(first, spread**2 / 8))


def _largest(multiply, width: int) -> jax.Array:
    """Largest eigenvalue by power iteration, with a margin (1 if there is none)."""

    def iterate(_, vector_J: jax.Array) -> jax.Array:
        image = multiply(vector_J)
        return image / jnp.maximum(jnp.linalg.norm(image), 1e-30)

    start = jax.random.normal(jax.random.key(0), (width,))
    largest = jnp.linalg.norm(multiply(jax.lax.fori_loop(0, 20, iterate, start)))
    return jnp.where(largest > 0, 1.05 * largest, 1.0)
