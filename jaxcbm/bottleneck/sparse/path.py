"""The sparse head: elastic-net multinomial logistic regression over a whole path of penalties.

    minimise  sum_i w_i CE(W a_i + b, y_i) + lambda (r |W|_1 + (1 - r) / 2 |W|_2^2)

with weights w summing to 1 and an unpenalised bias b, for lambda from the smallest value at which
W = 0 is optimal downwards. One compiled program: `lax.scan` over lambda with warm starts, an
accelerated proximal method inside, exact zeros, and a duality gap that says how far each model can
be from the optimum. It may be vmapped over activations, labels or weights, and rows may be sharded.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.problem import Problem, logits_of, matmul, pose
from jaxcbm.bottleneck.sparse.solver import State, empty_model, largest_penalty, solve


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


class Start(NamedTuple):
    """The last two solutions of a path: the next one lies about as far on."""

    state: State
    before: State


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
            the smallest at which the empty head is optimal down to `lambda_ratio` times it.
        path_length: P where lambdas is None, static.
        lambda_ratio: last over first penalty where lambdas is None.
        l1_ratio: r in (0, 1]; 1 is the lasso.
        tolerance: relative duality gap at which a model counts as solved.
        max_iterations: per penalty, at most so many; the certificate tells when it was too few.
        sample_weights: [N], non-negative, such as 0 for padding. None: all equal.

    Returns:
        SparsePath.

    Reference: Wong et al. 2021 (arXiv 2105.04857) for sparse heads by a path of elastic nets; the
    solver is ours (`jaxcbm.bottleneck.sparse.solver`).

    >>> activations = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> path = elastic_net_path(activations, jnp.array([0, 0, 1, 1]), 2, path_length=3)
    >>> path.nec.tolist(), bool(jnp.all(path.certificate <= 1e-3))
    ([0.0, 1.0, 1.0], True)
    """
    # Under jit a default that is left out is another program than the same value given.
    given = lambda_ratio, l1_ratio, tolerance, max_iterations
    return _follow_path(
        *(activations_NxD, labels_N, lambdas, sample_weights, None, *given),
        num_classes=num_classes,
        path_length=path_length,
    )[1]


def path_in_pieces(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    num_classes: int,
    *,
    path_length: int,
    at_once: int,
    lambda_ratio: float = 1e-3,
    l1_ratio: float = 0.99,
    tolerance: float = 1e-3,
    max_iterations: int = 5000,
    sample_weights: jax.Array | None = None,
) -> Iterator[SparsePath]:
    """The path of `elastic_net_path`, so many heads at a time: a long one of large heads is never
    dense as a whole.

    Args:
        at_once: heads that are held at once. The other arguments are those of `elastic_net_path`.

    >>> activations = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> how = {"path_length": 3, "at_once": 2}
    >>> pieces = path_in_pieces(activations, jnp.array([0, 0, 1, 1]), 2, **how)
    >>> [piece.nec.tolist() for piece in pieces]
    [[0.0, 1.0], [1.0]]
    """
    data, given = (activations_NxD, labels_N), (lambda_ratio, l1_ratio, tolerance, max_iterations)
    if at_once >= path_length:
        yield elastic_net_path(
            *(*data, num_classes),
            path_length=path_length,
            lambda_ratio=lambda_ratio,
            l1_ratio=l1_ratio,
            tolerance=tolerance,
            max_iterations=max_iterations,
            sample_weights=sample_weights,
        )
        return
    sizes = {"num_classes": num_classes, "path_length": path_length}
    start, lambdas_P = _begin(*data, sample_weights, lambda_ratio, l1_ratio, **sizes)
    for first in range(0, path_length, at_once):
        lambdas = lambdas_P[first : first + at_once]
        start, piece = _follow_path(*data, lambdas, sample_weights, start, *given, **sizes)
        yield piece


def nec(head_KxD: jax.Array) -> jax.Array:
    """Number of effective concepts: non-zero weights per class, averaged over classes.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4.

    >>> float(nec(jnp.array([[0.0, 2.0, 0.0], [1.0, -1.0, 1.0]])))
    2.0
    """
    return jnp.sum(head_KxD != 0).astype(jnp.float32) / head_KxD.shape[0]


def head_of(problem: Problem, solution_KxJ: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weights [K, D] and bias [K] on activations as they are, from the solver's coefficients."""
    weights_KxD = solution_KxJ[:, :-1]
    bias_K = solution_KxJ[:, -1] * problem.constant - matmul(weights_KxD, problem.mean)
    return weights_KxD, bias_K


@partial(jax.jit, static_argnames=("num_classes", "path_length"))
def _follow_path(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    lambdas: jax.Array | None,
    sample_weights: jax.Array | None,
    start: Start | None,
    lambda_ratio: jax.Array | float,
    l1_ratio: jax.Array | float,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
    *,
    num_classes: int,
    path_length: int,
) -> tuple[Start, SparsePath]:
    problem = pose(activations_NxD, labels_N, num_classes, sample_weights)
    ratio = jnp.asarray(l1_ratio, jnp.float32)
    if lambdas is None:
        lambdas = _geometric(problem, lambda_ratio, ratio, path_length)
    lambdas = jnp.asarray(lambdas, jnp.float32)
    start = Start(*(empty_model(problem),) * 2) if start is None else start

    def follow(at: Start, penalty: jax.Array):
        posed = problem._replace(l1=penalty * ratio, l2=penalty * (1 - ratio))
        state = solve(posed, _ahead(problem, at), tolerance, max_iterations)
        return Start(state, at.state), (state.now, state.objective, state.gap, state.iterations)

    last, (solutions, objective, gap, iterations) = jax.lax.scan(follow, start, lambdas)
    weights_PxKxD, biases_PxK = jax.vmap(lambda found: head_of(problem, found))(solutions)
    return last, SparsePath(
        lambdas, weights_PxKxD, biases_PxK, objective, gap, iterations, jax.vmap(nec)(weights_PxKxD)
    )


@partial(jax.jit, static_argnames=("num_classes", "path_length"))
def _begin(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    sample_weights: jax.Array | None,
    lambda_ratio: jax.Array | float,
    l1_ratio: jax.Array | float,
    *,
    num_classes: int,
    path_length: int,
) -> tuple[Start, jax.Array]:
    problem = pose(activations_NxD, labels_N, num_classes, sample_weights)
    ratio = jnp.asarray(l1_ratio, jnp.float32)
    start = Start(*(empty_model(problem),) * 2)
    return start, _geometric(problem, lambda_ratio, ratio, path_length)


def _ahead(problem: Problem, at: Start) -> State:
    """Where the line through the last two solutions leads; no weight crosses zero on it."""
    now, moved = at.state.now, 2 * at.state.now - at.before.now
    moved = moved.at[:, :-1].set(jnp.where(moved * now > 0, moved, 0.0)[:, :-1])
    return at.state._replace(now=moved, now_logits=logits_of(problem, moved))


def _geometric(
    problem: Problem, lambda_ratio: jax.Array | float, l1_ratio: jax.Array, path_length: int
) -> jax.Array:
    largest = largest_penalty(problem, empty_model(problem), l1_ratio)
    powers = jnp.linspace(0.0, 1.0, path_length, dtype=jnp.float32)
    return largest * jnp.asarray(lambda_ratio, jnp.float32) ** powers
