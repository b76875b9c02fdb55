"""Concept Matrix Search against a double loop over images and classes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck.search import concept_search
from jaxcbm.errors import UserError

NORMALIZE = ("none", "rows", "columns", "centred")
SIMILARITY = ("cosine", "cubed", "max_score")


def embeddings(seed, count, width=12, shift=0.3):
    """Not of unit norm, and with a common part, as the embeddings of an encoder have."""
    return np.random.default_rng(seed).normal(loc=shift, size=(count, width)).astype(np.float32)


def normalised(matrix, normalize):
    match normalize:
        case "rows":
            return matrix / (matrix.sum(axis=1, keepdims=True) + 1e-8)
        case "columns":
            return matrix / (matrix.sum(axis=0, keepdims=True) + 1e-8)
        case "centred":
            return matrix - matrix.mean(axis=0, keepdims=True)
    return matrix


def cosines(a, b):
    a, b = (x.astype(np.float64) for x in (a, b))
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return a @ b.T / norms


def loop(images, classes, concepts, similarity, normalize):
    V = normalised(cosines(images, concepts), normalize)
    T = normalised(cosines(classes, concepts), normalize)
    scores = np.zeros((len(V), len(T)))
    for i, v in enumerate(V):
        for j, t in enumerate(T):
            if similarity == "max_score":
                scores[i, j] = t[np.argmax(v)]
                continue
            power = 3 if similarity == "cubed" else 1
            scores[i, j] = (v**power @ t**power) / (
                np.linalg.norm(v**power) * np.linalg.norm(t**power)
            )
    return scores


@pytest.mark.parametrize("normalize", NORMALIZE)
@pytest.mark.parametrize("similarity", SIMILARITY)
def test_equals_a_double_loop(similarity, normalize):
    images, classes, concepts = embeddings(0, 37), embeddings(1, 5), embeddings(2, 23)
    expected = loop(images, classes, concepts, similarity, normalize)
    result = concept_search(
        *map(jnp.asarray, (images, classes, concepts)),
        similarity=similarity,
        normalize=normalize,
        block=8,
    )
    np.testing.assert_allclose(result.scores, expected, rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(result.labels, expected.argmax(axis=1))


@pytest.mark.parametrize("similarity", SIMILARITY)
def test_block_size_changes_nothing(similarity):
    arrays = [jnp.asarray(embeddings(i, n)) for i, n in enumerate((10, 3, 7))]
    results = [concept_search(*arrays, similarity=similarity, block=b).scores for b in (3, 10, 64)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5, atol=1e-6)


def test_columns_of_many_images_do_not_underflow_when_cubed():
    """A column's sum grows with the images, and the sixth power of what is left would vanish."""
    images, classes, concepts = embeddings(0, 9), embeddings(1, 5), embeddings(2, 23)
    many = jnp.asarray(np.tile(images, (4000, 1)))
    options = {"similarity": "cubed", "normalize": "columns"}
    few = concept_search(jnp.asarray(images), classes, concepts, **options)
    result = concept_search(many, classes, concepts, **options)
    np.testing.assert_allclose(result.scores[:9], few.scores, rtol=1e-3, atol=1e-5)


def test_identical_images_have_no_centred_direction():
    images = jnp.ones((4, 6))
    result = concept_search(images, jnp.eye(3, 6), jnp.eye(6), normalize="centred")
    assert jnp.isfinite(result.scores).all()


def test_clear_messages():
    images, classes, concepts = jnp.ones((2, 4)), jnp.ones((2, 4)), jnp.ones((2, 3))
    with pytest.raises(UserError, match="images 4, classes 4, concepts 3"):
        concept_search(images, classes, concepts)
    with pytest.raises(UserError, match=r"'euclid'.*cosine, cubed, max_score"):
        concept_search(images, classes, classes, similarity="euclid")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"'whiten'.*none, rows, columns, centred"):
        concept_search(images, classes, classes, normalize="whiten")  # type: ignore[arg-type]
