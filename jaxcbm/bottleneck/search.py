"""Concept Matrix Search: classify by concepts without any training."""

from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.errors import UserError

Similarity = Literal["cosine", "cubed", "max_score"]
Normalization = Literal["none", "rows", "columns", "centred"]

_EPSILON = 1e-8  # Added to the sums that rows or columns are divided by, as the released code does.


class SearchResult(NamedTuple):
    """Predictions of Concept Matrix Search.

    Attributes:
        labels: the best class of each image, int32 [N].
        scores: similarity of each image to each class, float32 [N, K].
    """

    labels: jax.Array
    scores: jax.Array


def concept_search(
    image_embeddings: jax.Array | np.ndarray,
    class_embeddings: jax.Array | np.ndarray,
    concept_embeddings: jax.Array | np.ndarray,
    *,
    similarity: Similarity = "cosine",
    normalize: Normalization = "none",
    block: int = 1024,
) -> SearchResult:
    """Predict the class whose row of class-concept similarities is closest to the image's row.

    V [N, D] holds the cosines between images and concepts, T [K, D] those between classes and
    concepts. The similarity of an image to a class compares their rows:

    * `cosine`: the cosine of the rows. It needs no [N, D] matrix at all: the concepts fold into one
      [E, E] matrix.
    * `cubed`: the cosine of the rows' cubes, which stresses the strongest concepts.
    * `max_score`: the class's similarity to the image's strongest concept.

    Args:
        image_embeddings: [N, E], of any norm above 0.
        class_embeddings: [K, E].
        concept_embeddings: [D, E].
        similarity: see above.
        normalize: what happens to V and T first. `rows`: each row is divided by its sum;
            `columns`: each column by its sum, over the given images for V and over classes for T;
            `centred`: each column loses its mean over the given images, or over classes, which
            takes away what all images and all texts have in common; `none`. Rows that only fill a
            batch up would count in `columns` and `centred`: leave them out.
        block: images whose rows of V are held at once.

    Returns:
        SearchResult(labels [N], scores [N, K]).

    Raises:
        UserError: an unknown option, or embeddings of different widths.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), Concept Matrix Search.

    >>> images, classes = jnp.array([[0.9, 0.1], [0.2, 0.8]]), jnp.eye(2)
    >>> concepts = jnp.array([[1.0, 0.2], [0.8, 0.1], [0.1, 1.0]])
    >>> concept_search(images, classes, concepts).labels.tolist()
    [0, 1]
    """
    _check("similarity", similarity, get_args(Similarity))
    _check("normalize", normalize, get_args(Normalization))
    widths = {
        "images": image_embeddings.shape[-1],
        "classes": class_embeddings.shape[-1],
        "concepts": concept_embeddings.shape[-1],
    }
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"embeddings of different widths: {found} (use one encoder for all)")
    embeddings = image_embeddings, class_embeddings, concept_embeddings
    scores_NxK = _search(*embeddings, similarity=similarity, normalize=normalize, block=block)
    return SearchResult(jnp.argmax(scores_NxK, axis=1).astype(jnp.int32), scores_NxK)


@partial(jax.jit, static_argnames=("similarity", "normalize", "block"))
def _search(
    images_NxE: jax.Array,
    classes_KxE: jax.Array,
    concepts_DxE: jax.Array,
    *,
    similarity: Similarity,
    normalize: Normalization,
    block: int,
) -> jax.Array:
    concepts_DxE = _unit(concepts_DxE)
    images_NxE, image_concepts_DxE = _fold_columns(_unit(images_NxE), concepts_DxE, normalize)
    classes_KxE, class_concepts_DxE = _fold_columns(_unit(classes_KxE), concepts_DxE, normalize)
    if similarity == "cosine":
        return _cosines(images_NxE, image_concepts_DxE, classes_KxE, class_concepts_DxE, normalize)

    T_KxD = _matrix(classes_KxE, class_concepts_DxE, normalize)
    T_KxD = T_KxD if similarity == "max_score" else _unit_cubes(T_KxD)

    def score(rows_BxE: jax.Array) -> jax.Array:
        V_BxD = _matrix(rows_BxE, image_concepts_DxE, normalize)
        if similarity == "max_score":
            return jnp.take(T_KxD, jnp.argmax(V_BxD, axis=1), axis=1).T
        return _matmul(_unit_cubes(V_BxD), T_KxD.T)

    return _by_blocks(score, images_NxE, block)


def _fold_columns(
    rows_NxE: jax.Array, concepts_DxE: jax.Array, normalize: Normalization
) -> tuple[jax.Array, jax.Array]:
    """Normalise the columns of rows @ concepts.T, which are linear in both, before it exists."""
    if normalize == "centred":
        return rows_NxE - jnp.mean(rows_NxE, axis=0, keepdims=True), concepts_DxE
    if normalize == "columns":
        sums_D = _matmul(concepts_DxE, jnp.sum(rows_NxE, axis=0))
        return rows_NxE, concepts_DxE / (sums_D + _EPSILON)[:, None]
    return rows_NxE, concepts_DxE


def _matrix(rows_NxE: jax.Array, concepts_DxE: jax.Array, normalize: Normalization) -> jax.Array:
    matrix_NxD = _matmul(rows_NxE, concepts_DxE.T)
    if normalize == "rows":
        matrix_NxD = matrix_NxD / (jnp.sum(matrix_NxD, axis=1, keepdims=True) + _EPSILON)
    return matrix_NxD


def _cosines(
    images_NxE: jax.Array,
    image_concepts_DxE: jax.Array,
    classes_KxE: jax.Array,
    class_concepts_DxE: jax.Array,
    normalize: Normalization,
) -> jax.Array:
    """Cosines between the rows of V and of T, of which neither exists: only E x E Grams do."""
    # Where both concepts are the same, the compiler finds that all Grams, and products, are too.
    across_ExE = _matmul(image_concepts_DxE.T, class_concepts_DxE)
    products_NxK = _matmul(_matmul(images_NxE, across_ExE), classes_KxE.T)
    image_N = _inverse_lengths(images_NxE, image_concepts_DxE, normalize)
    class_K = _inverse_lengths(classes_KxE, class_concepts_DxE, normalize)
    return products_NxK * image_N[:, None] * class_K[None, :]


def _inverse_lengths(
    rows_NxE: jax.Array, concepts_DxE: jax.Array, normalize: Normalization
) -> jax.Array:
    """One over the lengths of the rows of rows @ concepts.T."""
    gram_ExE = _matmul(concepts_DxE.T, concepts_DxE)
    squares_N = jnp.sum(_matmul(rows_NxE, gram_ExE) * rows_NxE, axis=1)
    inverse_N = _safe_inverse(jnp.sqrt(jnp.maximum(squares_N, 0.0)))
    if normalize == "rows":
        # Dividing a row by its sum changes no cosine, but a negative sum turns the row around.
        sums_N = _matmul(rows_NxE, jnp.sum(concepts_DxE, axis=0))
        inverse_N = inverse_N * jnp.where(sums_N + _EPSILON < 0, -1.0, 1.0)
    return inverse_N


def _by_blocks(score, images_NxE: jax.Array, block: int) -> jax.Array:
    count, width = images_NxE.shape
    block = min(block, count)
    padding = -count % block
    padded = jnp.pad(images_NxE, ((0, padding), (0, 0)))
    scores = jax.lax.map(score, padded.reshape(-1, block, width))
    return scores.reshape(count + padding, -1)[:count]


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # Similarities of one image to different classes often agree in three digits.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _unit(rows: jax.Array) -> jax.Array:
    rows = rows.astype(jnp.float32)
    return rows * _safe_inverse(jnp.linalg.norm(rows, axis=1, keepdims=True))


def _unit_cubes(rows: jax.Array) -> jax.Array:
    # The cosine ignores scale; without it the cubes of a normalised row would underflow.
    scaled = rows * _safe_inverse(jnp.max(jnp.abs(rows), axis=1, keepdims=True))
    return _unit(scaled * scaled * scaled)


def _safe_inverse(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, 1.0 / jnp.where(x > 0, x, 1.0), 0.0)


def _check(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}")
