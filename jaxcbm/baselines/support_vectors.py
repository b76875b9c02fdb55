"""Concept vectors from a few pairs of images: a linear support vector machine for each concept.

What departs from the published code (Post-hoc CBM's, `SVC(kernel="linear")`), and why:

* The hinge is squared, as in scikit-learn's `LinearSVC`: it is smooth, and all concepts are solved
  at once by L-BFGS on any device.
* The cost is chosen out of five for each concept by its accuracy on pairs of validation images; the
  published code fits a bank of vectors for each cost it is given (0.01 and 0.1 unless told) and
  reports accuracies on further images of the same pool.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.baselines.concept_vectors import ConceptVectors
from jaxcbm.bottleneck.minimise import Params, minimise_by_lbfgs

COSTS = (1e-3, 1e-2, 0.1, 1.0, 10.0)


def support_vectors(
    train_NxE: np.ndarray,
    train_NxA: np.ndarray,
    valid_MxE: np.ndarray,
    valid_MxA: np.ndarray,
    *,
    pairs: int = 100,
    costs: Sequence[float] = COSTS,
    seed: int = 0,
) -> ConceptVectors:
    """A linear support vector machine of each concept on at most so many pairs of images.

    Args:
        train_NxE: embeddings.
        train_NxA: 1 present, 0 absent, NaN unknown.
        valid_MxE: embeddings.
        valid_MxA: as train_NxA; a concept that is not both present and absent here keeps the
            smallest cost.
        pairs: images with the concept, and as many without; fewer where there are fewer. The paper
            takes 50 to 100.
        costs: C, of an image on the wrong side.
        seed: of which images.

    Returns:
        ConceptVectors; its `penalties` hold the chosen costs.

    Reference: Yuksekgonul et al. 2023 (arXiv 2205.15480), section 2.1.
    """
    rng = np.random.default_rng(seed)
    columns = np.flatnonzero(_pairs_of(train_NxA) > 0)
    mean_E = np.mean(train_NxE, axis=0, dtype=np.float32)
    drawn = draw_pairs(train_NxA[:, columns], pairs, rng)
    held = draw_pairs(valid_MxA[:, columns], pairs, rng)
    train, valid = (np.asarray(rows, np.float32) - mean_E for rows in (train_NxE, valid_MxE))
    rising = np.sort(np.asarray(costs, np.float32))
    solutions = [solve_svm(*_of(train, drawn), jnp.float32(cost)) for cost in rising]
    scores_CxA = np.stack([_accuracies(kernel, bias, valid, held) for kernel, bias in solutions])
    chosen_A = np.argmax(scores_CxA, axis=0)
    kernels_CxExA, biases_CxA = (np.stack([np.asarray(s[i]) for s in solutions]) for i in range(2))
    each = np.arange(len(columns))
    kernel, bias_A = kernels_CxExA[chosen_A, :, each].T, biases_CxA[chosen_A, each]
    norms_A = np.maximum(np.linalg.norm(kernel, axis=0), 1e-12)
    kernel = kernel / norms_A
    return ConceptVectors(kernel, bias_A / norms_A - mean_E @ kernel, columns, rising[chosen_A])


def draw_pairs(
    present_NxA: np.ndarray, pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Images with and without each concept, as many of the one kind as of the other.

    Returns:
        (rows int [A, 2 P], sides float32 [A, 2 P]): 1 where the image has the concept, -1 where it
        has not, and 0 where a concept has fewer than P pairs and the row says nothing.

    >>> rows, sides = draw_pairs(np.array([[1.0], [0.0], [1.0]]), 2, np.random.default_rng(0))
    >>> sides.tolist()
    [[1.0, 0.0, -1.0, 0.0]]
    """
    counts_A = np.minimum(_pairs_of(present_NxA), pairs)
    rows = np.zeros((len(counts_A), 2, pairs), np.int64)
    sides = np.zeros(rows.shape, np.float32)
    for a, count in enumerate(counts_A):
        for half, (kind, side) in enumerate(((present_NxA > 0.5, 1.0), (present_NxA <= 0.5, -1.0))):
            rows[a, half, :count] = rng.permutation(np.flatnonzero(kind[:, a]))[:count]
            sides[a, half, :count] = side
    return rows.reshape(len(rows), -1), sides.reshape(len(rows), -1)


@jax.jit
def solve_svm(
    inputs_AxPxE: jax.Array, sides_AxP: jax.Array, cost: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minimise |w|^2 / 2 + cost * sum of max(0, 1 - side (x w + b))^2 for every concept at once.

    Args:
        inputs_AxPxE: the images of each concept.
        sides_AxP: 1 or -1; 0 leaves an image out.
        cost: C.

    Returns:
        (kernel float32 [E, A], bias float32 [A]); the bias goes unpenalised.

    Reference: Fan et al. 2008, LIBLINEAR, L2-regularised L2-loss classification.
    """

    def solve(inputs_PxE: jax.Array, sides_P: jax.Array) -> Params:
        start = {"kernel": jnp.zeros(inputs_PxE.shape[1]), "bias": jnp.zeros(())}
        return minimise_by_lbfgs(_loss, start, (inputs_PxE, sides_P, cost))

    found = jax.vmap(solve)(inputs_AxPxE, sides_AxP)
    return found["kernel"].T, found["bias"]


def _loss(params: Params, data: tuple) -> jax.Array:
    inputs_PxE, sides_P, cost = data
    values_P = jnp.matmul(inputs_PxE, params["kernel"]) + params["bias"]
    misses_P = jnp.where(sides_P != 0, jnp.maximum(1.0 - sides_P * values_P, 0.0), 0.0)
    return 0.5 * jnp.sum(params["kernel"] ** 2) + cost * jnp.sum(misses_P**2)


def _pairs_of(present_NxA: np.ndarray) -> np.ndarray:
    """The smaller number of images with and without each concept, int [A]."""
    return np.minimum((present_NxA > 0.5).sum(axis=0), (present_NxA <= 0.5).sum(axis=0))


def _of(rows_NxE: np.ndarray, drawn: tuple[np.ndarray, np.ndarray]) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(rows_NxE[drawn[0]]), jnp.asarray(drawn[1])


def _accuracies(
    kernel: jax.Array, bias: jax.Array, rows_NxE: np.ndarray, drawn: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Share of each concept's pairs on their own side, float64 [A]; 0 for one without pairs."""
    rows_AxPxE, sides_AxP = rows_NxE[drawn[0]], drawn[1]
    values_AxP = np.einsum("ape,ea->ap", rows_AxPxE, kernel) + np.asarray(bias)[:, None]
    return (sides_AxP * values_AxP > 0).mean(axis=1)
