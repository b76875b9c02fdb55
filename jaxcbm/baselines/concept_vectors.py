"""Concept activation vectors: a linear classifier of each annotated concept, all at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

PENALTIES = (1.0, 0.1, 0.01, 1e-3)


class ConceptVectors(NamedTuple):
    """Unit directions and offsets: e @ kernel + bias is the distance to the concept's hyperplane.

    Attributes:
        kernel: float32 [E, A'], unit columns.
        bias: float32 [A'].
        columns: int [A'], the annotations that had both present and absent images in train.
        penalties: float32 [A'], the l2 penalty chosen for each.
    """

    kernel: np.ndarray
    bias: np.ndarray
    columns: np.ndarray
    penalties: np.ndarray


def concept_vectors(
    train_NxE: np.ndarray,
    train_NxA: np.ndarray,
    valid_MxE: np.ndarray,
    valid_MxA: np.ndarray,
    penalties: tuple[float, ...] = PENALTIES,
    max_iterations: int = 1000,
) -> ConceptVectors:
    """Logistic regression of each concept on the embeddings; its penalty is chosen on validation.

    Present and absent images weigh the same in total, whatever their numbers. Embeddings are
    centred and divided by one number, their overall deviation, so that directions keep their
    meaning and penalties suit any encoder.

    Args:
        train_NxE: embeddings.
        train_NxA: 1 present, 0 absent, NaN unknown.
        valid_MxE: embeddings.
        valid_MxA: as train_NxA; a concept that is not both present and absent here keeps the
            strongest penalty.
        penalties: l2 penalties to try.
        max_iterations: of accelerated gradient descent, per penalty.

    Returns:
        ConceptVectors.

    Reference: Kim et al. 2018 (arXiv 1711.11279) for the vectors; Yuksekgonul et al. 2023
    (arXiv 2205.15480), section 2.1, for the bank of them.
    """
    train, valid = np.asarray(train_NxE, np.float32), np.asarray(valid_MxE, np.float32)
    weights_NxA = balanced_weights(train_NxA)
    columns = np.flatnonzero(weights_NxA.any(axis=0))
    mean_E = train.mean(axis=0)
    deviation = np.float32(max(np.sqrt(np.mean((train - mean_E) ** 2)), 1e-12))
    falling_P = np.sort(np.asarray(penalties, np.float32))[::-1]
    solution_PxJxA = solve_logistic(
        _with_constant((train - mean_E) / deviation),
        jnp.asarray(np.nan_to_num(train_NxA[:, columns]), jnp.float32),
        jnp.asarray(weights_NxA[:, columns]),
        jnp.asarray(falling_P.copy()),
        jnp.int32(max_iterations),
    )
    losses_PxA = _losses(
        solution_PxJxA,
        _with_constant((valid - mean_E) / deviation),
        jnp.asarray(np.nan_to_num(valid_MxA[:, columns]), jnp.float32),
        jnp.asarray(balanced_weights(valid_MxA[:, columns])),
    )
    chosen_A = np.argmin(np.asarray(losses_PxA), axis=0)
    picked_JxA = np.asarray(solution_PxJxA)[chosen_A, :, np.arange(len(columns))].T
    norms_A = np.maximum(np.linalg.norm(picked_JxA[:-1], axis=0), 1e-12)
    kernel = picked_JxA[:-1] / norms_A
    bias = picked_JxA[-1] * deviation / norms_A - mean_E @ kernel
    return ConceptVectors(kernel, bias, columns, falling_P[chosen_A])


def balanced_weights(present_NxA: np.ndarray) -> np.ndarray:
    """Weights of the images for each concept: present ones share 1/2, absent ones 1/2, unknown 0.

    A concept that is not both present and absent somewhere has weights 0.

    >>> balanced_weights(np.array([[1.0], [0.0], [0.0], [np.nan]])).ravel().tolist()
    [0.5, 0.25, 0.25, 0.0]
    """
    kinds = present_NxA > 0.5, present_NxA <= 0.5
    counts = [kind.sum(axis=0) for kind in kinds]
    both_A = (counts[0] > 0) & (counts[1] > 0)
    halves = [0.5 * kind / np.maximum(n, 1) for kind, n in zip(kinds, counts, strict=True)]
    return ((halves[0] + halves[1]) * both_A).astype(np.float32)


@jax.jit
def solve_logistic(
    inputs_NxJ: jax.Array,
    present_NxA: jax.Array,
    weights_NxA: jax.Array,
    penalties_P: jax.Array,
    max_iterations: jax.Array,
) -> jax.Array:
    """Weighted logistic regressions by accelerated gradients, warm started along the penalties.

    Args:
        inputs_NxJ: the last column is constant and its coefficient goes unpenalised.
        present_NxA: 1 or 0.
        weights_NxA: non-negative, each column sums to 1.
        penalties_P: l2 penalties, decreasing.
        max_iterations: per penalty.

    Returns:
        float32 [P, J, A].

    Reference: O'Donoghue and Candes 2015 (arXiv 1204.3982) for the restart.
    """
    penalised_J = jnp.ones(inputs_NxJ.shape[1]).at[-1].set(0.0)
    # The logistic loss bends by at most 1/4; power iteration comes from below.
    curvature_A = 0.25 * 1.1 * _largest_eigenvalue(inputs_NxJ, weights_NxA)

    def gradient(point_JxA: jax.Array, penalty: jax.Array) -> jax.Array:
        error = jax.nn.sigmoid(jnp.matmul(inputs_NxJ, point_JxA)) - present_NxA
        return jnp.matmul(inputs_NxJ.T, weights_NxA * error) + (
            penalty * penalised_J[:, None] * point_JxA
        )

    def follow(start_JxA: jax.Array, penalty: jax.Array) -> tuple[jax.Array, jax.Array]:
        step_A = 1.0 / (curvature_A + penalty)

        def unsolved(carry: tuple) -> jax.Array:
            return (carry[4] > 1e-5) & (carry[3] < max_iterations)

        def advance(carry: tuple) -> tuple:
            now, ahead, momentum_A, count, _ = carry
            slope = gradient(ahead, penalty)
            new = ahead - step_A[None, :] * slope
            # Each concept restarts on its own when its momentum points uphill.
            uphill_A = jnp.sum(slope * (new - now), axis=0) > 0
            grown_A = 0.5 + jnp.sqrt(0.25 + momentum_A**2)
            beta_A = jnp.where(uphill_A, 0.0, (momentum_A - 1) / grown_A)
            momentum_A = jnp.where(uphill_A, 1.0, grown_A)
            ahead = new + beta_A[None, :] * (new - now)
            return new, ahead, momentum_A, count + 1, jnp.max(jnp.abs(slope))

        ones_A = jnp.ones(start_JxA.shape[1])
        first = (start_JxA, start_JxA, ones_A, jnp.int32(0), jnp.float32(jnp.inf))
        solution = jax.lax.while_loop(unsolved, advance, first)[0]
        return solution, solution

    start = jnp.zeros((inputs_NxJ.shape[1], present_NxA.shape[1]))
    return jax.lax.scan(follow, start, penalties_P)[1]


def _largest_eigenvalue(inputs_NxJ: jax.Array, weights_NxA: jax.Array) -> jax.Array:
    """Of each concept's weighted second moment, float32 [A], by power iteration."""

    def multiply(vectors_JxA: jax.Array) -> jax.Array:
        return jnp.matmul(inputs_NxJ.T, weights_NxA * jnp.matmul(inputs_NxJ, vectors_JxA))

    def iterate(_, vectors_JxA: jax.Array) -> jax.Array:
        image = multiply(vectors_JxA)
        return image / jnp.maximum(jnp.linalg.norm(image, axis=0, keepdims=True), 1e-30)

    shape = inputs_NxJ.shape[1], weights_NxA.shape[1]
    vectors = jax.lax.fori_loop(0, 30, iterate, jax.random.normal(jax.random.key(0), shape))
    return jnp.maximum(jnp.linalg.norm(multiply(vectors), axis=0), 1e-12)


@jax.jit
def _losses(
    solution_PxJxA: jax.Array,
    inputs_NxJ: jax.Array,
    present_NxA: jax.Array,
    weights_NxA: jax.Array,
) -> jax.Array:
    def of_penalty(solution_JxA: jax.Array) -> jax.Array:
        logits = jnp.matmul(inputs_NxJ, solution_JxA)
        return jnp.sum(weights_NxA * (jnp.logaddexp(0.0, logits) - present_NxA * logits), axis=0)

    return jax.lax.map(of_penalty, solution_PxJxA)


def _with_constant(rows_NxE: np.ndarray) -> jax.Array:
    return jnp.asarray(np.concatenate([rows_NxE, np.ones((len(rows_NxE), 1), np.float32)], axis=1))
