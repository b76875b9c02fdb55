"""Which few concepts stand for a class: a submodular score, maximised greedily on the device."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.errors import UserError


def mutual_information(
    embeddings_NxE: np.ndarray,
    labels_N: np.ndarray,
    concepts_DxE: np.ndarray,
    num_classes: int,
) -> np.ndarray:
    """How much each concept tells about the class: its share of their mutual information, times D.

    The joint distribution is that of the released code: classes are equally likely, and a concept's
    probability in a class is its mean cosine with the class's train images over the sum of those of
    all concepts. A distribution needs positive numbers: cosines are cut off at a small one. Classes
    without images are left out. Times D, the number of concepts, a score says the same of a short
    and of a long list. float32 [D], non-negative; 0 where all classes show a concept alike.

    Reference: Yang et al. 2023 (arXiv 2211.11158), section 3.2.

    >>> scores = mutual_information(np.eye(2), np.array([0, 1]), np.array([[1, 0], [1, 1]]), 2)
    >>> [round(float(score), 2) for score in scores]
    [0.35, 0.08]
    """
    counts_K = np.bincount(labels_N, minlength=num_classes)
    sums_KxE = np.zeros((num_classes, np.shape(embeddings_NxE)[1]), np.float64)
    np.add.at(sums_KxE, labels_N, embeddings_NxE)
    means_KxE = sums_KxE[counts_K > 0] / counts_K[counts_K > 0, None]
    cosines_KxD = np.maximum(means_KxE @ np.asarray(concepts_DxE, np.float64).T, 1e-6)
    in_class_KxD = cosines_KxD / cosines_KxD.sum(axis=1, keepdims=True)
    ratio_KxD = in_class_KxD / in_class_KxD.mean(axis=0)
    shares_D = np.mean(in_class_KxD * np.log(ratio_KxD), axis=0)
    return np.maximum(len(concepts_DxE) * shares_D, 0.0).astype(np.float32)


def greedy_selection(
    scores_D: np.ndarray,
    concepts_DxE: np.ndarray,
    candidates_KxD: np.ndarray,
    k: int,
    *,
    information_weight: float = 1.0,
    coverage_weight: float = 1.0,
) -> np.ndarray:
    """For each class, greedily maximise alpha * sum of scores + beta * coverage of its candidates.

    The coverage of a choice S among the candidates C of a class is facility location,
    sum over c in C of max over s in S of max(cos(c, s), 0). Both terms are monotone and submodular,
    so that the greedy choice reaches at least 1 - 1/e of the best one.

    Args:
        scores_D: non-negative.
        concepts_DxE: unit-norm text embeddings.
        candidates_KxD: bool. The work is the sum over classes of k times candidates squared: keep
            to some hundreds a class.
        k: concepts a class; a class with fewer candidates takes all of them.
        information_weight: alpha.
        coverage_weight: beta.

    Returns:
        bool [K, D], the chosen concepts.

    Raises:
        UserError: a class without candidates.

    Reference: Yang et al. 2023 (arXiv 2211.11158), equation 2; Nemhauser et al. 1978.

    >>> concepts = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> greedy_selection(np.zeros(3), concepts, np.ones((1, 3), bool), k=2).tolist()
    [[True, False, True]]
    """
    candidates = np.asarray(candidates_KxD, bool)
    sizes_K = candidates.sum(axis=1)
    if not sizes_K.all():
        missing = ", ".join(str(label) for label in np.flatnonzero(sizes_K == 0)[:5])
        raise UserError(f"no candidate concept for class {missing}: give every class at least one")
    # Candidates of every class first, in order of position; the widest class sets the width.
    index_KxM = np.argsort(~candidates, axis=1, kind="stable")[:, : sizes_K.max()]
    steps = min(k, int(sizes_K.max()))
    picked_KxS = _greedy(
        jnp.asarray(information_weight * np.asarray(scores_D), jnp.float32),
        jnp.asarray(concepts_DxE, jnp.float32),
        jnp.asarray(index_KxM, jnp.int32),
        jnp.asarray(sizes_K, jnp.int32),
        jnp.float32(coverage_weight),
        steps=steps,
    )
    chosen = np.zeros(candidates.shape, bool)
    for row, size, picked in zip(chosen, sizes_K, np.asarray(picked_KxS), strict=True):
        row[picked[: min(k, size)]] = True
    return chosen


@partial(jax.jit, static_argnames="steps")
def _greedy(
    scores_D: jax.Array,
    concepts_DxE: jax.Array,
    index_KxM: jax.Array,
    sizes_K: jax.Array,
    coverage_weight: jax.Array,
    *,
    steps: int,
) -> jax.Array:
    """The concepts of each class in the order of choice, int32 [K, steps]."""

    def of_class(arguments: tuple[jax.Array, jax.Array]) -> jax.Array:
        index_M, size = arguments
        real_M = jnp.arange(index_M.size) < size
        vectors_MxE = concepts_DxE[index_M]
        cosines = jnp.matmul(vectors_MxE, vectors_MxE.T, precision=jax.lax.Precision.HIGHEST)
        similarity_MxM = jnp.where(
            real_M[:, None] & real_M[None, :], jnp.maximum(cosines, 0.0), 0.0
        )

        def choose(carry: tuple, _) -> tuple:
            covered_M, open_M = carry
            rise_M = jnp.sum(jnp.maximum(similarity_MxM - covered_M[:, None], 0.0), axis=0)
            gain_M = jnp.where(open_M, scores_D[index_M] + coverage_weight * rise_M, -jnp.inf)
            best = jnp.argmax(gain_M)
            covered_M = jnp.maximum(covered_M, similarity_MxM[:, best])
            return (covered_M, open_M.at[best].set(False)), index_M[best]

        start = (jnp.zeros(index_M.size), real_M)
        return jax.lax.scan(choose, start, length=steps)[1]

    return jax.lax.map(of_class, (index_KxM, sizes_K))
