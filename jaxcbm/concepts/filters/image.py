"""Filters that ask train pictures: is the phrase ever seen, and does it tell anything?

Each takes D phrases with their embeddings `texts_DxE` and the train images' `images_NxE`, all of
unit norm, and returns D reasons, "" where a phrase stays. Each is idempotent, and independent of
the order of phrases and of pictures. They are told nothing about validation or test pictures: give
the embeddings of train alone.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.concepts.filters.score_information import mutual_information
from jaxcbm.errors import UserError

_PHRASES, _IMAGES = 256, 8192


def not_visible(
    phrases: Sequence[str],
    texts_DxE: np.ndarray,
    images_NxE: np.ndarray,
    at_least: float = 0.25,
    *,
    top: int = 5,
) -> list[str]:
    """Phrases that even the pictures they fit best do not show, as the encoder sees it.

    Args:
        phrases, texts_DxE, images_NxE: see the module.
        at_least: cosine; the mean of the `top` best images must reach it. What is high depends on
            the encoder: 0.25 suits CLIP ViT-B/16.
        top: images that count; all of them where there are fewer.

    Raises:
        UserError: no images, `top` below 1, or `at_least` is no number.

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129), section 3.2.

    >>> images = np.array([[1.0, 0.0], [0.8, 0.6]])
    >>> not_visible(["red crown", "unicorn"], np.eye(2), images, at_least=0.7, top=2)
    ['', '0.300 in the best images']
    """
    _check("visible", images_NxE, at_least)
    if top < 1:
        raise UserError(f"filter visible: the mean of {top} images; give top=1 or more")
    best_D = top_scores(texts_DxE, images_NxE, top)
    return [f"{best:.3f} in the best images" if best < at_least else "" for best in best_D]


def uninformative(
    phrases: Sequence[str],
    texts_DxE: np.ndarray,
    images_NxE: np.ndarray,
    labels_N: np.ndarray,
    at_least: float = 0.02,
    *,
    bins: int = 8,
) -> list[str]:
    """Phrases whose scores hardly say anything about the label.

    Args:
        phrases, texts_DxE, images_NxE: see the module.
        labels_N: int [N]; images below 0 are left out.
        at_least: nats of `mutual_information`.
        bins: groups of equally many images that the scores are cut into.

    Raises:
        UserError: no images, fewer than two classes or bins, or `at_least` is no number.

    >>> rows, labels = np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0), np.repeat([0, 1], 50)
    >>> uninformative(["red crown", "a picture"], np.array([[1.0, 0.0], [1, 1]]), rows, labels)
    ['', '0.000 nats about the label']
    """
    _check("informative", images_NxE, at_least)
    found_D = mutual_information(texts_DxE, images_NxE, labels_N, bins=bins)
    return [f"{value:.3f} nats about the label" if value < at_least else "" for value in found_D]


def not_varying(
    phrases: Sequence[str],
    texts_DxE: np.ndarray,
    images_NxE: np.ndarray,
    at_least: float = 0.01,
) -> list[str]:
    """Phrases that score (nearly) the same on every picture; needs no labels.

    Args:
        phrases, texts_DxE, images_NxE: see the module.
        at_least: standard deviation of the cosine over images.

    Raises:
        UserError: no images, or `at_least` is no number.

    >>> images = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> not_varying(["red crown", "a picture"], np.array([[1.0, 0.0], [0.6, 0.6]]), images)
    ['', 'deviates by 0.0000 over images']
    """
    _check("varying", images_NxE, at_least)
    # The covariance of images gives the variance of every score; [N, D] never exists.
    covariance_ExE = np.atleast_2d(np.cov(np.asarray(images_NxE, np.float64).T, bias=True))
    texts = np.asarray(texts_DxE, np.float64)
    deviation_D = np.sqrt(np.maximum(np.sum((texts @ covariance_ExE) * texts, axis=1), 0.0))
    return [
        f"deviates by {value:.4f} over images" if value < at_least else "" for value in deviation_D
    ]


def top_scores(texts_DxE: np.ndarray, images_NxE: np.ndarray, top: int) -> np.ndarray:
    """The mean cosine of each phrase's `top` best images, float32 [D]; in blocks of both."""
    texts = np.asarray(texts_DxE, np.float32)
    top = min(top, len(images_NxE))
    means = []
    for start in range(0, len(texts), _PHRASES):
        texts_BxE = jnp.asarray(texts[start : start + _PHRASES])
        best_BxT = jnp.full((texts_BxE.shape[0], top), -jnp.inf, jnp.float32)
        for first in range(0, len(images_NxE), _IMAGES):
            images_MxE = jnp.asarray(images_NxE[first : first + _IMAGES], jnp.float32)
            best_BxT = _merge_top(best_BxT, texts_BxE, images_MxE)
        means.append(np.asarray(jnp.mean(best_BxT, axis=1)))
    return np.concatenate(means)


@jax.jit
def _merge_top(best_BxT: jax.Array, texts_BxE: jax.Array, images_MxE: jax.Array) -> jax.Array:
    cosines_BxM = jnp.matmul(texts_BxE, images_MxE.T, precision=jax.lax.Precision.HIGHEST)
    both = jnp.concatenate([best_BxT, cosines_BxM], axis=1)
    return jax.lax.top_k(both, best_BxT.shape[1])[0]


def _check(name: str, images_NxE: np.ndarray, at_least: float) -> None:
    if not np.isfinite(at_least):
        raise UserError(f"filter {name}: at least {at_least}; give a number")
    if len(images_NxE) == 0:
        raise UserError(f"filter {name}: no train images to ask")
