"""A few phrases for each class that tell it from as many other classes as they can."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.errors import UserError

# Cosines that deviate by less than this within classes are taken to deviate by this much.
_LEAST_DEVIATION = 1e-4


def uncovering(
    phrases: Sequence[str],
    texts_DxE: np.ndarray,
    images_NxE: np.ndarray,
    labels_N: np.ndarray,
    per_class: int = 10,
) -> list[str]:
    """Phrases that `cover_classes`, of these arguments, picks for no class.

    Idempotent: what is picked from all phrases is picked again from the picked ones. Independent of
    the order of phrases but for exact ties, where the earlier one is picked.

    >>> rows, labels = np.repeat([[1.0, 0.0], [0.0, 1.0]], 9, axis=0), np.repeat([0, 1], 9)
    >>> texts = np.array([[1.0, 0.0], [0.0, 1.0], [0.7, 0.7]])
    >>> uncovering(["red", "blue", "purple"], texts, rows, labels, per_class=1)
    ['', '', 'not among the 1 of any class']
    """
    picked_KxD = cover_classes(texts_DxE, images_NxE, labels_N, per_class)
    why = f"not among the {per_class} of any class"
    return ["" if picked_K.any() else why for picked_K in picked_KxD.T]


def cover_classes(
    texts_DxE: np.ndarray, images_NxE: np.ndarray, labels_N: np.ndarray, per_class: int
) -> np.ndarray:
    """Pick for each class, greedily, the phrases that together tell it from all others.

    A phrase tells class c from class r as well as its scores do: by the chance a(c, r, d) above one
    half that an image of c scores higher than one of r, under normal distributions with the
    phrase's common deviation within classes. A choice S is worth the sum over the other classes r
    of max over d in S of a(c, r, d): a facility location, monotone and submodular, of which the
    greedy choice reaches at least 1 - 1/e of the best. Only presence counts: a phrase is picked for
    classes that score higher on it, so that it can be said of them.

    The value of a choice does not depend on what else could be chosen, and [N, D] never exists.

    Args:
        texts_DxE: unit-norm embeddings.
        images_NxE: unit-norm embeddings of train images.
        labels_N: int [N]; images below 0 are left out.
        per_class: picks a class, from 1; fewer where no other phrase adds anything.

    Returns:
        bool [K, D], K the classes with images, in the order of their labels.

    Raises:
        UserError: fewer than two classes with images, or no pick a class.

    Reference: Nemhauser, Wolsey and Fisher 1978 for the greedy bound; Yang et al. 2023 (arXiv
    2211.11158) for submodular picks of concepts a class, by another score.
    """
    labels_N = np.asarray(labels_N)
    known_N = labels_N >= 0
    present, ids_N = np.unique(labels_N[known_N], return_inverse=True)
    if len(present) < 2 or per_class < 1:
        raise UserError(
            f"filter cover: {per_class} phrases for each of {len(present)} classes with train "
            "images; it needs one or more for two or more"
        )
    images = np.asarray(images_NxE, np.float64)[known_N]
    texts = np.asarray(texts_DxE, np.float64)
    counts_K = np.bincount(ids_N)
    sums_KxE = np.zeros((len(present), images.shape[1]))
    np.add.at(sums_KxE, ids_N, images)
    means_KxE = sums_KxE / counts_K[:, None]
    residuals_NxE = images - means_KxE[ids_N]
    within_ExE = residuals_NxE.T @ residuals_NxE / len(images)
    deviation_D = np.sqrt(np.maximum(np.sum((texts @ within_ExE) * texts, axis=1), 0.0))
    scores_KxD = means_KxE @ texts.T / np.maximum(deviation_D, _LEAST_DEVIATION)
    steps = min(per_class, len(texts))
    picks_KxS = np.asarray(_greedy(jnp.asarray(scores_KxD, jnp.float32), steps=steps))
    chosen_KxD = np.zeros(scores_KxD.shape, bool)
    classes, _ = np.nonzero(picks_KxS >= 0)
    chosen_KxD[classes, picks_KxS[picks_KxS >= 0]] = True
    return chosen_KxD


@partial(jax.jit, static_argnames="steps")
def _greedy(scores_KxD: jax.Array, *, steps: int) -> jax.Array:
    """The picks of each class in their order, int32 [K, steps]; -1 where nothing adds anything."""

    def of_class(own_D: jax.Array) -> jax.Array:
        margin_KxD = (own_D[None, :] - scores_KxD) / jnp.sqrt(jnp.float32(2))
        told_KxD = jnp.maximum(jax.scipy.stats.norm.cdf(margin_KxD) - 0.5, 0.0)

        def pick(covered_K: jax.Array, _) -> tuple[jax.Array, jax.Array]:
            gain_D = jnp.sum(jnp.maximum(told_KxD - covered_K[:, None], 0.0), axis=0)
            best = jnp.argmax(gain_D).astype(jnp.int32)
            adds = gain_D[best] > 0
            covered_K = jnp.where(adds, jnp.maximum(covered_K, told_KxD[:, best]), covered_K)
            return covered_K, jnp.where(adds, best, -1)

        start_K = jnp.zeros(scores_KxD.shape[0], jnp.float32)
        return jax.lax.scan(pick, start_K, length=steps)[1]

    return jax.lax.map(of_class, scores_KxD)
