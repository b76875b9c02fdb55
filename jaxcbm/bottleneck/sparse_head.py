"""The sparse head: elastic-net multinomial logistic regression over a whole path of penalties.

    minimise  sum_i w_i CE(W a_i + b, y_i) + lambda (r |W|_1 + (1 - r) / 2 |W|_2^2)

with weights w summing to 1 and an unpenalised bias b, for lambda from the smallest value at which
W = 0 is optimal downwards. One compiled program: `lax.scan` over lambda with warm starts, an
accelerated proximal method inside, exact zeros, and a duality gap that says how far each model can
be from the optimum.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.proximal import soft_threshold

# Certifying costs a product with the activations, as much as half an iteration.
_CHECK_EVERY = 10
_NEVER = -1e4  # Bias of a class without samples: its probability is exactly 0.


class SparsePath(NamedTuple):
    """Heads along the path, from the emptiest on.

    Attributes:
        lambdas: penalties, decreasing, float32 [P].
        weights: heads F, float32 [P, K, D]; zeros are exact.
        biases: float32 [P, K].
        objective: value of the minimised function, float32 [P].
        certificate: relative duality gap, float32 [P]: the objective exceeds the optimum by at
            most this fraction of itself.
        iterations: int32 [P].
        nec: number of effective concepts of each head, float32 [P].
    """

    lambdas: jax.Array
    weights: jax.Array
    biases: jax.Array
    objective: jax.Array
    certificate: jax.Array
    iterations: jax.Array
    nec: jax.Array


class NecCurve(NamedTuple):
    """Accuracy against the number of effective concepts.

    Attributes:
        targets: NEC values, int32 [T].
        accuracies: fraction correct at each, float32 [T].
        anec: their mean, float32 [].
    """

    targets: jax.Array
    accuracies: jax.Array
    anec: jax.Array


class _Problem(NamedTuple):
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


class _State(NamedTuple):
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


@partial(jax.jit, static_argnames=("num_classes", "path_length"))
def elastic_net_path(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    *,
    lambdas: jax.Array | None = None,
    path_length: int = 30,
    lambda_ratio: float = 1e-3,
    l1_ratio: float = 0.99,
    tolerance: float = 1e-3,
    max_iterations: int = 5000,
    sample_weights: jax.Array | None = None,
) -> SparsePath:
    """Solve the elastic net for every penalty of a path, each to a certified relative gap.

    Args:
        activations_NxD: concept activations [N, D]; standardise them for penalties that treat
            concepts alike.
        labels_N: int [N] in [0, K).
        num_classes: K, static. A class without samples gets zero weights and is never predicted.
        lambdas: penalties [P], decreasing. None: `path_length` of them, geometric from
            `lambda_max` down to `lambda_ratio` times it.
        path_length: P where lambdas is None, static.
        lambda_ratio: last over first penalty where lambdas is None.
        l1_ratio: r in (0, 1]; 1 is the lasso.
        tolerance: relative duality gap at which a model counts as solved.
        max_iterations: per penalty, at most so many; the certificate tells when it was too few.
        sample_weights: [N], non-negative, such as 0 for padding. None: all equal.

    Returns:
        SparsePath.

    Reference: Beck and Teboulle 2009 (FISTA); O'Donoghue and Candes 2015 (arXiv 1204.3982) for the
    restart; Ndiaye et al. 2015 (arXiv 1506.03736) for the gap; Wong et al. 2021 (arXiv 2105.04857)
    for sparse heads by a path of elastic nets.

    >>> activations = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> path = elastic_net_path(activations, jnp.array([0, 0, 1, 1]), 2, path_length=3)
    >>> path.nec.tolist(), bool(jnp.all(path.certificate <= 1e-3))
    ([0.0, 1.0, 1.0], True)
    """
    problem, mean_D = _pose(activations_NxD, labels_N, num_classes, sample_weights)
    l1_ratio_ = jnp.asarray(l1_ratio, jnp.float32)
    start = _empty_model(problem)
    if lambdas is None:
        largest = _lambda_max(problem, start, l1_ratio_)
        powers = jnp.linspace(0.0, 1.0, path_length, dtype=jnp.float32)
        lambdas = largest * jnp.asarray(lambda_ratio, jnp.float32) ** powers
    lambdas = jnp.asarray(lambdas, jnp.float32)

    def solve(state: _State, penalty: jax.Array):
        posed = problem._replace(l1=penalty * l1_ratio_, l2=penalty * (1 - l1_ratio_))
        state = _solve(posed, state, tolerance, max_iterations)
        return state, (state.now, state.objective, state.gap, state.iterations)

    _, (solutions, objective, gap, iterations) = jax.lax.scan(solve, start, lambdas)
    weights_PxKxD = solutions[:, :, :-1]
    shift_PxK = _matmul(weights_PxKxD, mean_D)
    biases_PxK = solutions[:, :, -1] * problem.inputs_NxJ[0, -1] - shift_PxK
    return SparsePath(
        lambdas, weights_PxKxD, biases_PxK, objective, gap, iterations, jax.vmap(nec)(weights_PxKxD)
    )


def lambda_max(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    *,
    l1_ratio: float = 0.99,
    sample_weights: jax.Array | None = None,
) -> jax.Array:
    """The smallest penalty at which the empty head is optimal, in closed form.

    With W = 0 the best bias predicts the class frequencies; W stays 0 as long as no entry of the
    gradient exceeds lambda * l1_ratio.

    Args: as for `elastic_net_path`.

    Returns:
        float32 scalar.

    >>> activations = jnp.array([[1.0], [-1.0]])
    >>> float(lambda_max(activations, jnp.array([0, 1]), 2, l1_ratio=1.0))
    0.5
    """
    problem, _ = _pose(activations_NxD, labels_N, num_classes, sample_weights)
    return _lambda_max(problem, _empty_model(problem), jnp.asarray(l1_ratio, jnp.float32))


def nec(head_KxD: jax.Array) -> jax.Array:
    """Number of effective concepts: non-zero weights per class, averaged over classes.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4.

    >>> float(nec(jnp.array([[0.0, 2.0, 0.0], [1.0, -1.0, 1.0]])))
    2.0
    """
    return jnp.sum(head_KxD != 0).astype(jnp.float32) / head_KxD.shape[0]


def truncate_to_nec(head_KxD: jax.Array, k: jax.Array | int) -> jax.Array:
    """Zero all but the k * K weights of largest magnitude in the whole head, so that NEC <= k.

    The budget is shared: a class that needs more concepts than another may have them.

    Args:
        head_KxD: [K, D].
        k: target NEC; may be traced.

    Returns:
        [K, D]. Of equal magnitudes at the limit, the first are kept.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4.

    >>> truncate_to_nec(jnp.array([[3.0, -4.0], [1.0, 0.5]]), 1).tolist()
    [[3.0, -4.0], [0.0, 0.0]]
    """
    order = jnp.argsort(-jnp.abs(head_KxD).ravel(), stable=True)
    keep = jnp.arange(order.size) < jnp.asarray(k) * head_KxD.shape[0]
    mask = jnp.zeros(order.size, bool).at[order].set(keep).reshape(head_KxD.shape)
    return jnp.where(mask, head_KxD, jnp.zeros((), head_KxD.dtype))


@partial(jax.jit, static_argnames="targets")
def nec_curve(
    path: SparsePath,
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    targets: Sequence[int] = (5, 10, 15, 20, 25, 30),
) -> NecCurve:
    """Accuracy at each target NEC, and their mean (ANEC).

    For each target: the first model of the path with at least that NEC (else the last one),
    truncated to it by magnitude.

    Args:
        path: from `elastic_net_path`, fitted on other data than this.
        activations_NxD: [N, D].
        labels_N: int [N].
        targets: NEC values; a tuple under jit.

    Returns:
        NecCurve.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4.

    >>> activations = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> labels = jnp.array([0, 0, 1, 1])
    >>> path = elastic_net_path(activations, labels, 2, path_length=3)
    >>> float(nec_curve(path, activations, labels, targets=(1, 2)).anec)
    1.0
    """
    targets_T = jnp.asarray(targets, jnp.int32)

    def accuracy(target: jax.Array) -> jax.Array:
        reached = path.nec >= target.astype(jnp.float32)
        chosen = jnp.where(jnp.any(reached), jnp.argmax(reached), path.nec.size - 1)
        head_KxD = truncate_to_nec(path.weights[chosen], target)
        logits = _matmul(activations_NxD.astype(jnp.float32), head_KxD.T)
        predicted = jnp.argmax(logits + path.biases[chosen][None, :], axis=1)
        return jnp.mean((predicted == labels_N).astype(jnp.float32))

    accuracies_T = jax.lax.map(accuracy, targets_T)
    return NecCurve(targets_T, accuracies_T, jnp.mean(accuracies_T))


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # Accelerators would round the factors to fewer bits, and the certificate would not hold.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _pose(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    sample_weights: jax.Array | None,
) -> tuple[_Problem, jax.Array]:
    """Centre (the bias absorbs it), append the constant column, normalise the weights."""
    activations = activations_NxD.astype(jnp.float32)
    samples = activations.shape[0]
    weights_N = jnp.ones(samples) if sample_weights is None else sample_weights
    weights_N = weights_N.astype(jnp.float32) / jnp.sum(weights_N.astype(jnp.float32))
    mean_D = _matmul(weights_N, activations)
    # A sample without weight, padding perhaps, must not steer the step size.
    centred = jnp.where(weights_N[:, None] > 0, activations - mean_D[None, :], 0.0)
    constant = jnp.sqrt(_largest_curvature(centred, weights_N))
    inputs_NxJ = jnp.concatenate([centred, jnp.full((samples, 1), constant)], axis=1)
    penalised_J = jnp.ones(inputs_NxJ.shape[1]).at[-1].set(0.0)
    onehot_KxN = jax.nn.one_hot(labels_N, num_classes, dtype=jnp.float32, axis=0)
    zero = jnp.zeros((), jnp.float32)
    return _Problem(inputs_NxJ, onehot_KxN, weights_N, penalised_J, zero, zero), mean_D


def _largest_curvature(centred_NxD: jax.Array, weights_N: jax.Array) -> jax.Array:
    """Largest eigenvalue of the weighted covariance, by power iteration (1 if there is none)."""

    def multiply(vector_D: jax.Array) -> jax.Array:
        return _matmul(weights_N * _matmul(centred_NxD, vector_D), centred_NxD)

    def iterate(_, vector_D: jax.Array) -> jax.Array:
        image = multiply(vector_D)
        return image / jnp.maximum(jnp.linalg.norm(image), 1e-30)

    start = jax.random.normal(jax.random.key(0), centred_NxD.shape[1:])
    vector_D = jax.lax.fori_loop(0, 30, iterate, start)
    largest = jnp.linalg.norm(multiply(vector_D))
    return jnp.where(largest > 0, largest, 1.0)


def _empty_model(problem: _Problem) -> _State:
    """W = 0 with the bias that predicts the class frequencies: the path's first solution."""
    frequency_K = _matmul(problem.onehot_KxN, problem.weights_N)
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
    return _State(empty, logits, empty, logits, one, step, none, zero, one)


def _lambda_max(problem: _Problem, empty: _State, l1_ratio: jax.Array) -> jax.Array:
    gradient = _gradient(problem, empty.now_logits)
    return jnp.max(jnp.abs(gradient[:, :-1])) / l1_ratio


def _gradient(problem: _Problem, logits_KxN: jax.Array) -> jax.Array:
    error_KxN = jax.nn.softmax(logits_KxN, axis=0) - problem.onehot_KxN
    return _matmul(problem.weights_N[None, :] * error_KxN, problem.inputs_NxJ)


def _solve(
    problem: _Problem, state: _State, tolerance: jax.Array | float, max_iterations: jax.Array | int
) -> _State:
    """Accelerated proximal steps from a warm start until the gap is small enough."""
    state = state._replace(
        last=state.now,
        last_logits=state.now_logits,
        momentum=jnp.ones((), jnp.float32),
        iterations=jnp.zeros((), jnp.int32),
        gap=jnp.full((), jnp.inf),
    )

    def unsolved(state: _State) -> jax.Array:
        unseen = jnp.isinf(state.gap)
        return unseen | ((state.gap > tolerance) & (state.iterations < max_iterations))

    def advance(state: _State) -> _State:
        # The first round only certifies: a warm start may be good enough.
        left = jnp.minimum(_CHECK_EVERY, max_iterations - state.iterations)
        steps = jnp.where(jnp.isinf(state.gap), 0, left)
        state = jax.lax.fori_loop(0, steps, lambda _, state: _iterate(problem, state), state)
        return _certify(problem, state._replace(iterations=state.iterations + steps))

    return jax.lax.while_loop(unsolved, advance, state)


def _iterate(problem: _Problem, state: _State) -> _State:
    """One trial step; accepted if the quadratic model majorises, else the step shrinks."""
    momentum = 0.5 + jnp.sqrt(0.25 + state.momentum**2)
    beta = (state.momentum - 1) / momentum
    ahead = state.now + beta * (state.now - state.last)
    ahead_logits = state.now_logits + beta * (state.now_logits - state.last_logits)
    moved = ahead - state.step * _gradient(problem, ahead_logits)
    penalised = problem.penalised_J[None, :]
    shrunk = soft_threshold(moved, state.step * problem.l1 * penalised)
    new = shrunk / (1 + state.step * problem.l2 * penalised)
    new_logits = _matmul(new, problem.inputs_NxJ.T)

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


def _curvature_bound(problem: _Problem, logits: jax.Array, change: jax.Array) -> jax.Array:
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


def _certify(problem: _Problem, state: _State) -> _State:
    """Improve the bias, then bound the distance to the optimum by a dual feasible point."""
    frequency_K = _matmul(problem.onehot_KxN, problem.weights_N)
    present_K = frequency_K > 0

    def predicted(logits: jax.Array) -> jax.Array:
        return _matmul(jax.nn.softmax(logits, axis=0), problem.weights_N)

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


def _dual(problem: _Problem, p_KxN: jax.Array, frequency_K: jax.Array) -> jax.Array:
    """The largest dual value among feasible points near the predictions.

    A dual point is a distribution q_i for each sample, with the class frequencies as its mean (the
    bias is free). Predictions mixed with just enough of one constant distribution have that mean;
    so has every q = y + s (mixed - y), s in [0, 1]. The value is the mean entropy of q minus the
    penalty's conjugate at the gradient, s V.
    """
    excess_K = _matmul(p_KxN, problem.weights_N) - frequency_K
    present_K = frequency_K > 0
    relative = jnp.max(jnp.where(present_K, excess_K / jnp.where(present_K, frequency_K, 1.0), 0.0))
    mixed_KxN = (p_KxN + (relative * frequency_K - excess_K)[:, None]) / (1 + relative)
    mixed_KxN = jnp.maximum(mixed_KxN, 0.0)

    others_KxN = (1 - problem.onehot_KxN) * mixed_KxN
    others_N = jnp.sum(others_KxN, axis=0)
    others_entropy_N = -jnp.sum(jax.scipy.special.xlogy(others_KxN, others_KxN), axis=0)
    error_KxN = problem.weights_N[None, :] * (mixed_KxN - problem.onehot_KxN)
    slope_KxD = jnp.abs(_matmul(error_KxN, problem.inputs_NxJ)[:, :-1])

    def value(s: jax.Array) -> jax.Array:
        own = 1 - s * others_N
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
