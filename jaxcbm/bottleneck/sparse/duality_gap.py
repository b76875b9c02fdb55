"""How far an elastic-net model can be from the optimum: a bound by a dual feasible point.

Reference: Ndiaye et al. 2015 (arXiv 1506.03736).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.problem import Problem, matmul


class Certificate(NamedTuple):
    """The objective, and the fraction of it by which it can exceed the optimum."""

    objective: jax.Array
    gap: jax.Array


def bias_shift(problem: Problem, logits_KxN: jax.Array) -> jax.Array:
    """What to add to the class logits [K] so that the objective falls: one step of generalised
    iterative scaling. It never makes the objective rise."""
    mass_K = matmul(jax.nn.softmax(logits_KxN, axis=0), problem.weights)
    present_K = problem.frequency > 0
    ratio_K = jnp.where(present_K, problem.frequency / jnp.where(present_K, mass_K, 1.0), 1.0)
    return jnp.log(ratio_K)


def certify(problem: Problem, coefficients_KxJ: jax.Array, logits_KxN: jax.Array) -> Certificate:
    """The objective of a model and its relative duality gap, which is never below its rounding."""
    log_p = jax.nn.log_softmax(logits_KxN, axis=0)
    onehot = problem.rows.onehot
    cross_entropy = -jnp.sum(problem.weights * jnp.sum(onehot * log_p, axis=0))
    mass_K = matmul(jnp.exp(log_p), problem.weights)
    W = coefficients_KxJ[:, :-1]
    penalty = problem.l1 * jnp.sum(jnp.abs(W)) + 0.5 * problem.l2 * jnp.sum(W * W)
    objective = cross_entropy + penalty
    gap = jnp.maximum(objective - _dual(problem, W, logits_KxN, mass_K), 0.0)
    relative = gap / jnp.maximum(objective, 1e-12)
    return Certificate(objective, jnp.maximum(relative, rounding(problem)))


def rounding(problem: Problem) -> float:
    """What a relative gap may be off by, and so the least that is claimed.

    Objective and dual value are float32 sums over N samples, and their difference is lost in
    rounding where it is small. Errors of N additions, independent and each of a relative eps, add
    up to eps sqrt(N) (Higham & Mary 2019, "A new approach to probabilistic rounding error
    analysis").
    """
    return float(jnp.finfo(jnp.float32).eps) * math.sqrt(problem.labels.shape[0])


def _dual(
    problem: Problem, weights_KxD: jax.Array, logits_KxN: jax.Array, mass_K: jax.Array
) -> jax.Array:
    """The largest dual value among feasible points near the predictions.

    A dual point is a distribution q_i for each sample, with the class frequencies as its mean (the
    bias is free). Predictions mixed with just enough of one constant distribution have that mean;
    so has every q = y + s (mixed - y), s in [0, 1]. The value is the mean entropy of q minus the
    penalty's conjugate at the gradient, s V. A weight w that is held has no conjugate: it adds what
    it costs, s V w and its penalty.
    """
    rows, frequency_K = problem.rows, problem.frequency
    excess_K = mass_K - frequency_K
    present_K = frequency_K > 0
    relative = jnp.max(jnp.where(present_K, excess_K / jnp.where(present_K, frequency_K, 1.0), 0.0))
    p_KxN = jax.nn.softmax(logits_KxN, axis=0)
    moved_KxN = (p_KxN + (relative * frequency_K - excess_K)[:, None]) / (1 + relative)
    mixed_KxN = jnp.maximum(moved_KxN, 0.0)
    error_KxN = rows.weights[None, :] * (mixed_KxN - rows.onehot)
    signed_KxD = matmul(error_KxN, rows.inputs)[:, :-1]
    slope_KxD, linear, constant = jnp.abs(signed_KxD), 0.0, 0.0
    if problem.held is not None:
        free_KxD = ~problem.held[:, :-1]
        W = jnp.where(free_KxD, 0.0, weights_KxD)
        slope_KxD = jnp.where(free_KxD, slope_KxD, 0.0)
        linear = jnp.sum(signed_KxD * W)
        constant = problem.l1 * jnp.sum(jnp.abs(W)) + 0.5 * problem.l2 * jnp.sum(W * W)
    # At s = `safe` no entry exceeds the l1 weight; beyond it, the quadratic part pays.
    safe = jnp.minimum(1.0, 0.999999 * problem.l1 / jnp.maximum(jnp.max(slope_KxD), 1e-30))
    scales_S = safe + (1 - safe) * jnp.linspace(0.0, 1.0, 8) ** 2
    others_KxN = (1 - rows.onehot) * mixed_KxN
    share_N = jnp.sum(others_KxN, axis=0)
    entropy_N = -jnp.sum(jax.scipy.special.xlogy(others_KxN, others_KxN), axis=0)

    def entropy(s: jax.Array) -> jax.Array:
        # Rounding can leave the others with a little more than everything.
        own_N = jnp.maximum(1 - s * share_N, 0.0)
        total_N = s * entropy_N - jax.scipy.special.xlogy(s, s) * share_N
        return jnp.sum(rows.weights * (total_N - jax.scipy.special.xlogy(own_N, own_N)))

    def conjugate(s: jax.Array) -> jax.Array:
        over = jnp.sum(jnp.maximum(s * slope_KxD - problem.l1, 0.0) ** 2)
        ridge = problem.l2 > 0
        value = jnp.where(ridge, over / (2 * jnp.where(ridge, problem.l2, 1.0)), 0.0)
        return jnp.where(~ridge & (over > 0), jnp.inf, value)

    held_S = scales_S * linear + constant
    return jnp.max(jax.lax.map(entropy, scales_S) - jax.lax.map(conjugate, scales_S) + held_S)
