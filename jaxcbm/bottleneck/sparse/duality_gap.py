"""How far an elastic-net model can be from the optimum: a bound by a dual feasible point.

Reference: Ndiaye et al. 2015 (arXiv 1506.03736).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.problem import Problem, Rows, matmul, sum_rows


class Certificate(NamedTuple):
    """The objective, and the fraction of it by which it can exceed the optimum."""

    objective: jax.Array
    gap: jax.Array


def bias_shift(
    problem: Problem, coefficients_KxJ: jax.Array, logits_KxN: jax.Array | None
) -> jax.Array:
    """What to add to the class logits [K] so that the objective falls: one step of generalised
    iterative scaling. It never makes the objective rise."""

    def mass(rows: Rows, logits: jax.Array) -> jax.Array:
        return matmul(jax.nn.softmax(logits, axis=0), rows.weights)

    mass_K = sum_rows(problem, mass, (coefficients_KxJ,), (logits_KxN,))
    present_K = problem.frequency > 0
    ratio_K = jnp.where(present_K, problem.frequency / jnp.where(present_K, mass_K, 1.0), 1.0)
    return jnp.log(ratio_K)


def certify(
    problem: Problem, coefficients_KxJ: jax.Array, logits_KxN: jax.Array | None
) -> Certificate:
    """The objective of a model and its relative duality gap."""
    known = (coefficients_KxJ,), (logits_KxN,)

    def loss_and_mass(rows: Rows, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_p = jax.nn.log_softmax(logits, axis=0)
        loss = -jnp.sum(rows.weights * jnp.sum(rows.onehot * log_p, axis=0))
        return loss, matmul(jnp.exp(log_p), rows.weights)

    cross_entropy, mass_K = sum_rows(problem, loss_and_mass, *known)
    W = coefficients_KxJ[:, :-1]
    penalty = problem.l1 * jnp.sum(jnp.abs(W)) + 0.5 * problem.l2 * jnp.sum(W * W)
    objective = cross_entropy + penalty
    gap = jnp.maximum(objective - _dual(problem, known, mass_K), 0.0)
    return Certificate(objective, gap / jnp.maximum(objective, 1e-12))


def _dual(problem: Problem, known: tuple, mass_K: jax.Array) -> jax.Array:
    """The largest dual value among feasible points near the predictions.

    A dual point is a distribution q_i for each sample, with the class frequencies as its mean (the
    bias is free). Predictions mixed with just enough of one constant distribution have that mean;
    so has every q = y + s (mixed - y), s in [0, 1]. The value is the mean entropy of q minus the
    penalty's conjugate at the gradient, s V.
    """
    frequency_K = problem.frequency
    excess_K = mass_K - frequency_K
    present_K = frequency_K > 0
    relative = jnp.max(jnp.where(present_K, excess_K / jnp.where(present_K, frequency_K, 1.0), 0.0))

    def mixed(logits: jax.Array) -> jax.Array:
        p = jax.nn.softmax(logits, axis=0)
        moved = (p + (relative * frequency_K - excess_K)[:, None]) / (1 + relative)
        return jnp.maximum(moved, 0.0)

    def slope(rows: Rows, logits: jax.Array) -> jax.Array:
        error = rows.weights[None, :] * (mixed(logits) - rows.onehot)
        return matmul(error, rows.inputs)

    slope_KxD = jnp.abs(sum_rows(problem, slope, *known)[:, :-1])
    # At s = `safe` no entry exceeds the l1 weight; beyond it, the quadratic part pays.
    safe = jnp.minimum(1.0, 0.999999 * problem.l1 / jnp.maximum(jnp.max(slope_KxD), 1e-30))
    scales_S = safe + (1 - safe) * jnp.linspace(0.0, 1.0, 8) ** 2

    def entropy(rows: Rows, logits: jax.Array) -> jax.Array:
        others = (1 - rows.onehot) * mixed(logits)
        share_B = jnp.sum(others, axis=0)
        entropy_B = -jnp.sum(jax.scipy.special.xlogy(others, others), axis=0)

        def at(s: jax.Array) -> jax.Array:
            # Rounding can leave the others with a little more than everything.
            own = jnp.maximum(1 - s * share_B, 0.0)
            total = s * entropy_B - jax.scipy.special.xlogy(s, s) * share_B
            return jnp.sum(rows.weights * (total - jax.scipy.special.xlogy(own, own)))

        return jax.lax.map(at, scales_S)

    def conjugate(s: jax.Array) -> jax.Array:
        over = jnp.sum(jnp.maximum(s * slope_KxD - problem.l1, 0.0) ** 2)
        ridge = problem.l2 > 0
        value = jnp.where(ridge, over / (2 * jnp.where(ridge, problem.l2, 1.0)), 0.0)
        return jnp.where(~ridge & (over > 0), jnp.inf, value)

    return jnp.max(sum_rows(problem, entropy, *known) - jax.lax.map(conjugate, scales_S))
