"""The sparse head: elastic-net multinomial logistic regression over a whole path of penalties.

    minimise  sum_i w_i CE(W a_i + b, y_i) + lambda (r |W|_1 + (1 - r) / 2 |W|_2^2)

with weights w summing to 1 and an unpenalised bias b, for lambda from the smallest value at which
W = 0 is optimal downwards. One compiled program: `lax.scan` over lambda with warm starts, an
accelerated proximal method inside, exact zeros, and a duality gap that says how far each model can
be from the optimum. It may be vmapped over activations, labels or weights, and rows may be sharded.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.problem import Problem, matmul, pose
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
    return _follow_path(
        activations_NxD,
        labels_N,
        lambdas,
        sample_weights,
        lambda_ratio,
        l1_ratio,
        tolerance,
        max_iterations,
        num_classes=num_classes,
        path_length=path_length,
    )


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
    lambda_ratio: jax.Array | float,
    l1_ratio: jax.Array | float,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
    *,
    num_classes: int,
    path_length: int,
) -> SparsePath:
    problem = pose(activations_NxD, labels_N, num_classes, sample_weights)
    ratio = jnp.asarray(l1_ratio, jnp.float32)
    start = empty_model(problem)
    if lambdas is None:
        largest = largest_penalty(problem, start, ratio)
        powers = jnp.linspace(0.0, 1.0, path_length, dtype=jnp.float32)
        lambdas = largest * jnp.asarray(lambda_ratio, jnp.float32) ** powers
    lambdas = jnp.asarray(lambdas, jnp.float32)

    def follow(state: State, penalty: jax.Array):
        posed = problem._replace(l1=penalty * ratio, l2=penalty * (1 - ratio))
        state = solve(posed, state, tolerance, max_iterations)
        return state, (state.now, state.objective, state.gap, state.iterations)

    _, (solutions, objective, gap, iterations) = jax.lax.scan(follow, start, lambdas)
    weights_PxKxD, biases_PxK = jax.vmap(lambda found: head_of(problem, found))(solutions)
    return SparsePath(
        lambdas, weights_PxKxD, biases_PxK, objective, gap, iterations, jax.vmap(nec)(weights_PxKxD)
    )
