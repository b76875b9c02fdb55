"""Filters that compare texts by their embeddings: with the class names, and with each other."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.concepts.filters.mutual_similarity import drop_similar
from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.errors import UserError

_BLOCK = 4096


def join_embeddings(spaces: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Embeddings whose cosine is the weighted mean of the cosines in several encoders.

    With the square roots of the weights before unit vectors, the inner product of the joined rows
    is that mean, so that no filter needs to know how many encoders there are.

    Args:
        spaces: one [D, E_i] of unit norm for each encoder, of the same D texts.
        weights: non-negative, one for each; they are divided by their sum. The released system
            weighs a sentence encoder 1 and CLIP 3.

    Returns:
        float32 [D, sum of E_i], of unit norm.

    Raises:
        UserError: another number of weights than encoders, a negative weight, or none above zero.

    >>> joined = join_embeddings([np.eye(2), np.ones((2, 1))], [3.0, 1.0])
    >>> (joined @ joined.T).tolist()
    [[1.0, 0.25], [0.25, 1.0]]
    """
    if len(weights) != len(spaces):
        raise UserError(
            f"{len(weights)} weights for {len(spaces)} text encoders: give one for each"
        )
    share = np.asarray(weights, np.float64)
    if not np.all(np.isfinite(share)) or share.min() < 0 or share.sum() == 0:
        raise UserError(f"weights of text encoders {list(weights)}: none below 0, and one above it")
    roots = np.sqrt(share / share.sum())
    rows = [np.asarray(space) * root for space, root in zip(spaces, roots, strict=True)]
    return np.concatenate(rows, axis=1).astype(np.float32)


def centred(rows_DxE: np.ndarray, centre_E: np.ndarray) -> np.ndarray:
    """Embeddings without the part that all texts share, which makes any two of them look alike.

    The centre must not depend on the phrases that are filtered, or filtering twice would drop more
    than filtering once: take the mean of a fixed set. Rows have unit norm again, but for a text
    that is the centre itself, which becomes 0.

    >>> centred(np.array([[0.8, 0.6], [0.8, -0.6]]), np.array([0.8, 0.0])).tolist()
    [[0.0, 1.0], [0.0, -1.0]]
    """
    moved_DxE = np.asarray(rows_DxE, np.float64) - np.asarray(centre_E, np.float64)
    norms_Dx1 = np.linalg.norm(moved_DxE, axis=1, keepdims=True)
    return (moved_DxE / np.maximum(norms_Dx1, 1e-12)).astype(np.float32)


def like_a_class(
    phrases: Sequence[str],
    texts_DxE: np.ndarray,
    classes: Sequence[str],
    classes_KxE: np.ndarray,
    below: float = 0.85,
) -> list[str]:
    """Phrases that give the answer away: a class name in the same or other words.

    Every phrase meets every class. (The released code skips the pairs of equal position.)
    Idempotent, and independent of the order of phrases.

    Args:
        phrases: D texts.
        texts_DxE: unit-norm embeddings.
        classes: K names.
        classes_KxE: unit-norm embeddings.
        below: cosine; a phrase as similar as this to a class name, or more, is dropped, and so is
            one with the same `phrase_key`.

    Returns:
        D reasons.

    Raises:
        UserError: no classes, or `below` outside (-1, 1].

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129), section 3.1.

    >>> like_a_class(["ankle boots", "laces"], np.eye(2), ["Ankle boot"], np.array([[0.6, 0.8]]))
    ["says the class 'Ankle boot'", '']
    """
    if not len(classes):
        raise UserError("filter classes: no class names to compare with")
    _check_cosine("classes", below)
    names = {phrase_key(name): name for name in reversed(classes)}
    value_D, which_D = _nearest(
        np.asarray(texts_DxE, np.float32), jnp.asarray(classes_KxE, jnp.float32)
    )
    reasons = []
    for phrase, value, which in zip(phrases, value_D, which_D, strict=True):
        if (key := phrase_key(phrase)) in names:
            reasons.append(f"says the class {names[key]!r}")
        else:
            close = value >= below
            reasons.append(f"{value:.3f} like the class {classes[which]!r}" if close else "")
    return reasons


def like_another(
    phrases: Sequence[str], texts_DxE: np.ndarray, below: float = 0.90, *, block: int = 2048
) -> list[str]:
    """Phrases that an earlier, kept phrase says almost as well.

    Idempotent. The order decides: of two phrases too similar, the earlier one stays, and a phrase
    is dropped only because of one that stays.

    Args:
        phrases: D texts, those to be preferred first.
        texts_DxE: unit-norm embeddings.
        below: cosine; a pair as similar as this, or more, loses its later phrase.
        block: phrases a block of the similarity matrix.

    Returns:
        D reasons, each naming the kept phrase that it is most like.

    Raises:
        UserError: `below` outside (-1, 1].

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129), section 3.1.

    >>> like_another(["red crown", "crimson cap"], np.array([[1.0, 0.0], [0.96, 0.28]]))
    ['', "0.960 like 'red crown'"]
    """
    _check_cosine("similar", below)
    found = drop_similar(texts_DxE, below, block=block)
    return [
        "" if index < 0 else f"{value:.3f} like {phrases[index]!r}"
        for index, value in zip(found.index, found.similarity, strict=True)
    ]


def _check_cosine(name: str, below: float) -> None:
    if not -1 < below <= 1:
        raise UserError(f"filter {name}: a cosine of {below}; give one above -1, at most 1")


def _nearest(texts_DxE: np.ndarray, classes_KxE: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    parts = [
        _nearest_block(jnp.asarray(texts_DxE[start : start + _BLOCK]), classes_KxE)
        for start in range(0, len(texts_DxE), _BLOCK)
    ]
    values, places = zip(*parts, strict=True)
    return np.concatenate(values), np.concatenate(places)


@jax.jit
def _nearest_block(texts_BxE: jax.Array, classes_KxE: jax.Array) -> tuple[jax.Array, jax.Array]:
    cosines_BxK = jnp.matmul(texts_BxE, classes_KxE.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.max(cosines_BxK, axis=1), jnp.argmax(cosines_BxK, axis=1)
