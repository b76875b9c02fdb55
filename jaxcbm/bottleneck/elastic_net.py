"""Elastic-net multinomial logistic regression at one penalty: the solver of the sparse path.

An accelerated proximal method with restarts and a step size that follows the local curvature. Every
ten iterations a dual feasible point bounds how far the model can be from the optimum.

Reference: Beck and Teboulle 2009 (FISTA); O'Donoghue and Candes 2015 (arXiv 1204.3982) for the
restart; Ndiaye et al. 2015 (arXiv 1506.03736) for the gap.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.proximal import soft_threshold

# Certifying costs a product with the activations, as much as half an iteration.
_CHECK_EVERY = 10
_NEVER = -1e4  # Bias of a class without samples: its probability is exactly 0.


class Problem(NamedTuple):
    """Centred activations with one more column, constant, whose coefficients are the bias.

    The constant has the size that makes its curvature equal to the largest of the others, so that
    one step size serves both.
    """

    inputs_NxJ: jax.Array
    onehot_KxN: jax.Array
    weights_N: jax.Array
    penalised_J: jax.Array
    l1: jax.Array
    l2: jax.Array


class State(NamedTuple):
    """Iterates [K, J] and their logits [K, N]: linear, so extrapolating them costs no product.

    Classes come first because both products then run without a transposed copy of the inputs.
    """

    now: jax.Array
    now_logits: jax.Array
    last: jax.Array
    last_logits: jax.Array
    momentum: jax.Array
    step: jax.Array
    iterations: jax.Array
    objective: jax.Array
    gap: jax.Array


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full float32."""
    # Accelerators would round the factors to fewer bits, and the certificate would not hold.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def pose(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    sample_weights: jax.Array | None,
) -> tuple[Problem, jax.Array]:
    """Centre (the bias absorbs it), append the constant column, normalise the weights."""
    activations = activations_NxD.astype(jnp.float32)
    samples = activations.shape[0]
    weights_N = jnp.ones(samples) if sample_weights is None else sample_weights
    weights_N = weights_N.astype(jnp.float32) / jnp.sum(weights_N.astype(jnp.float32))
    mean_D = matmul(weights_N, activations)
    # A sample without weight, padding perhaps, must not steer the step size.
    centred = jnp.where(weights_N[:, None] > 0, activations - mean_D[None, :], 0.0)
    constant = jnp.sqrt(_largest_curvature(centred, weights_N))
    inputs_NxJ = jnp.concatenate([centred, jnp.full((samples, 1), constant)], axis=1)
    penalised_J = jnp.ones(inputs_NxJ.shape[1]).at[-1].set(0.0)
    onehot_KxN = jax.nn.one_hot(labels_N, num_classes, dtype=jnp.float32, axis=0)
    zero = jnp.zeros((), jnp.float32)
    return Problem(inputs_NxJ, onehot_KxN, weights_N, penalised_J, zero, zero), mean_D


def _largest_curvature(centred_NxD: jax.Array, weights_N: jax.Array) -> jax.Array:
    """Largest eigenvalue of the weighted covariance, by power iteration (1 if there is none)."""

    def multiply(vector_D: jax.Array) -> jax.Array:
        return matmul(weights_N * matmul(centred_NxD, vector_D), centred_NxD)

    def iterate(_, vector_D: jax.Array) -> jax.Array:
        image = multiply(vector_D)
        return image / jnp.maximum(jnp.linalg.norm(image), 1e-30)

    start = jax.random.normal(jax.random.key(0), centred_NxD.shape[1:])
    vector_D = jax.lax.fori_loop(0, 30, iterate, start)
    largest = jnp.linalg.norm(multiply(vector_D))
    return jnp.where(largest > 0, largest, 1.0)


def empty_model(problem: Problem) -> State:
    """W = 0 with the bias that predicts the class frequencies: the path's first solution."""
    frequency_K = matmul(problem.onehot_KxN, problem.weights_N)
    present_K = frequency_K > 0
    bias_K = jnp.where(present_K, jnp.log(jnp.where(present_K, frequency_K, 1.0)), _NEVER)
    constant = problem.inputs_NxJ[0, -1]
    shape = (bias_K.size, problem.inputs_NxJ.shape[1])
    empty = jnp.zeros(shape).at[:, -1].set(bias_K / constant)
    logits = jnp.broadcast_to(bias_K[:, None], problem.onehot_KxN.shape)
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    # The Hessian of the cross-entropy is at most half the inputs' covariance.
    step = 2.0 / constant**2
    none = jnp.zeros((), jnp.int32)
    return State(empty, logits, empty, logits, one, step, none, zero, one)


def largest_penalty(problem: Problem, empty: State, l1_ratio: jax.Array) -> jax.Array:
    """The smallest lambda that keeps W = 0: the largest gradient entry over the l1 share."""
    gradient = _gradient(problem, empty.now_logits)
    return jnp.max(jnp.abs(gradient[:, :-1])) / l1_ratio


def _gradient(problem: Problem, logits_KxN: jax.Array) -> jax.Array:
    error_KxN = jax.nn.softmax(logits_KxN, axis=0) - problem.onehot_KxN
    return matmul(problem.weights_N[None, :] * error_KxN, problem.inputs_NxJ)


def solve(
    problem: Problem, state: State, tolerance: jax.Array | float, max_iterations: jax.Array | int
) -> State:
    """Accelerated proximal steps from a warm start until the gap is small enough."""
    state = state._replace(
        last=state.now,
        last_logits=state.now_logits,
        momentum=jnp.ones((), jnp.float32),
        iterations=jnp.zeros((), jnp.int32),
        gap=jnp.full((), jnp.inf),
    )

    def unsolved(state: State) -> jax.Array:
        unseen = jnp.isinf(state.gap)
        return unseen | (~(state.gap <= tolerance) & (state.iterations < max_iterations))

    def advance(state: State) -> State:
        # The first round only certifies: a warm start may be good enough.
        left = jnp.minimum(_CHECK_EVERY, max_iterations - state.iterations)
        steps = jnp.where(jnp.isinf(state.gap), 0, left)
        state = jax.lax.fori_loop(0, steps, lambda _, state: _iterate(problem, state), state)
        return _certify(problem, state._replace(iterations=state.iterations + steps))

    return jax.lax.while_loop(unsolved, advance, state)


def _iterate(problem: Problem, state: State) -> State:
    """One trial step; accepted if the quadratic model majorises, else the step shrinks."""
    momentum = 0.5 + jnp.sqrt(0.25 + state.momentum**2)
    beta = (state.momentum - 1) / momentum
    ahead = state.now + beta * (state.now - state.last)
    ahead_logits = state.now_logits + beta * (state.now_logits - state.last_logits)
    moved = ahead - state.step * _gradient(problem, ahead_logits)
    penalised = problem.penalised_J[None, :]
    shrunk = soft_threshold(moved, state.step * problem.l1 * penalised)
    new = shrunk / (1 + state.step * problem.l2 * penalised)
    new_logits = matmul(new, problem.inputs_NxJ.T)

    change = new - ahead
    allowed = jnp.sum(change * change) / (2 * state.step)
    rise = _curvature_bound(problem, ahead_logits, new_logits - ahead_logits)
    accepted = rise <= allowed
    # Momentum that points uphill is dropped.
    uphill = jnp.sum((ahead - new) * (new - state.now)) > 0

    def choose(yes: jax.Array, no: jax.Array) -> jax.Array:
        return jnp.where(accepted, yes, no)

    return state._replace(
        now=choose(new, state.now),
        now_logits=choose(new_logits, state.now_logits),
        last=choose(state.now, state.last),
        last_logits=choose(state.now_logits, state.last_logits),
        momentum=choose(jnp.where(uphill, 1.0, momentum), state.momentum),
        step=state.step * choose(jnp.float32(1.05), jnp.maximum(0.2, 0.9 * allowed / rise)),
    )


def _curvature_bound(problem: Problem, logits: jax.Array, change: jax.Array) -> jax.Array:
    """An upper bound, free of cancellation, of the loss over its tangent at `logits`.

    For a change of range r in a sample's logits, log-sum-exp rises over its tangent by at most
    v (exp(r) - 1 - r) / r^2, where v is the variance of the change under the softmax; and by at
    most r^2 / 8 (its second derivative is the variance of a variable of range r).
    """
    probabilities = jax.nn.softmax(logits, axis=0)
    mean = jnp.sum(probabilities * change, axis=0, keepdims=True)
    variance = jnp.sum(probabilities * (change - mean) ** 2, axis=0)
    # Absent classes keep probability 0 and do not move.
    spread = jnp.max(change, axis=0) - jnp.min(change, axis=0)
    large = jnp.clip(spread, 0.1, 20.0)
    series = 0.5 + spread / 6 + spread**2 / 24
    growth = jnp.where(spread < 0.1, series, (jnp.expm1(large) - large) / large**2)
    first = jnp.where(spread > 20.0, jnp.inf, variance * growth)
    bound = jnp.minimum(first, spread**2 / 8)
    return jnp.sum(problem.weights_N * bound)


def _certify(problem: Problem, state: State) -> State:
    """Improve the bias, then bound the distance to the optimum by a dual feasible point."""
    frequency_K = matmul(problem.onehot_KxN, problem.weights_N)
    present_K = frequency_K > 0

    def predicted(logits: jax.Array) -> jax.Array:
        return matmul(jax.nn.softmax(logits, axis=0), problem.weights_N)

    # Generalised iterative scaling: the objective never rises.
    mass_K = predicted(state.now_logits)
    ratio_K = jnp.where(present_K, frequency_K / jnp.where(present_K, mass_K, 1.0), 1.0)
    shift_K = jnp.log(ratio_K)
    logits = state.now_logits + shift_K[:, None]
    coefficients_K = shift_K / problem.inputs_NxJ[0, -1]
    state = state._replace(
        now=state.now.at[:, -1].add(coefficients_K),
        now_logits=logits,
        last=state.last.at[:, -1].add(coefficients_K),
        last_logits=state.last_logits + shift_K[:, None],
    )

    W = state.now[:, :-1]
    log_p = jax.nn.log_softmax(logits, axis=0)
    cross_entropy = -jnp.sum(problem.weights_N * jnp.sum(problem.onehot_KxN * log_p, axis=0))
    penalty = problem.l1 * jnp.sum(jnp.abs(W)) + 0.5 * problem.l2 * jnp.sum(W * W)
    objective = cross_entropy + penalty
    dual = _dual(problem, jnp.exp(log_p), frequency_K)
    gap = jnp.maximum(objective - dual, 0.0) / jnp.maximum(objective, 1e-12)
    return state._replace(objective=objective, gap=gap)


def _dual(problem: Problem, p_KxN: jax.Array, frequency_K: jax.Array) -> jax.Array:
    """The largest dual value among feasible points near the predictions.

    A dual point is a distribution q_i for each sample, with the class frequencies as its mean (the
    bias is free). Predictions mixed with just enough of one constant distribution have that mean;
    so has every q = y + s (mixed - y), s in [0, 1]. The value is the mean entropy of q minus the
    penalty's conjugate at the gradient, s V.
    """
    excess_K = matmul(p_KxN, problem.weights_N) - frequency_K
    present_K = frequency_K > 0
    relative = jnp.max(jnp.where(present_K, excess_K / jnp.where(present_K, frequency_K, 1.0), 0.0))
    mixed_KxN = (p_KxN + (relative * frequency_K - excess_K)[:, None]) / (1 + relative)
    mixed_KxN = jnp.maximum(mixed_KxN, 0.0)

    others_KxN = (1 - problem.onehot_KxN) * mixed_KxN
    others_N = jnp.sum(others_KxN, axis=0)
    others_entropy_N = -jnp.sum(jax.scipy.special.xlogy(others_KxN, others_KxN), axis=0)
    error_KxN = problem.weights_N[None, :] * (mixed_KxN - problem.onehot_KxN)
    slope_KxD = jnp.abs(matmul(error_KxN, problem.inputs_NxJ)[:, :-1])

    def value(s: jax.Array) -> jax.Array:
        # Rounding can leave the others with a little more than everything.
        own = jnp.maximum(1 - s * others_N, 0.0)
        entropy_N = s * others_entropy_N - jax.scipy.special.xlogy(s, s) * others_N
        entropy_N = entropy_N - jax.scipy.special.xlogy(own, own)
        over = jnp.sum(jnp.maximum(s * slope_KxD - problem.l1, 0.0) ** 2)
        ridge = problem.l2 > 0
        conjugate = jnp.where(ridge, over / (2 * jnp.where(ridge, problem.l2, 1.0)), 0.0)
        conjugate = jnp.where(~ridge & (over > 0), jnp.inf, conjugate)
        return jnp.sum(problem.weights_N * entropy_N) - conjugate

    # At s = `safe` no entry exceeds the l1 weight; beyond it, the quadratic part pays.
    safe = jnp.minimum(1.0, 0.999999 * problem.l1 / jnp.maximum(jnp.max(slope_KxD), 1e-30))
    candidates = safe + (1 - safe) * jnp.linspace(0.0, 1.0, 8) ** 2
    return jnp.max(jax.lax.map(value, candidates))
