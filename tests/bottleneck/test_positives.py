"""Positives: masks in {0, 1} from annotations, class texts and scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck import positives
from jaxcbm.bottleneck.config import BottleneckConfig


def test_what_annotations_do_not_say_own_scores_do():
    """Of a phrase without an annotation, and of an image whose annotation is unknown."""
    rng, unknown = np.random.default_rng(0), positives.UNKNOWN
    psi = rng.normal(size=(50, 12)).astype(np.float32)
    told = rng.integers(0, 2, size=(50, 12)).astype(np.uint8)
    told[:, [2, 7]] = unknown
    told[::3, 5] = unknown
    config = BottleneckConfig(positives_k=4)
    found = np.asarray(positives.batch_positives(config, psi, np.zeros(50, np.int32), told))
    for image in range(50):
        best = set(np.argsort(-psi[image])[:4])
        for concept in range(12):
            said = told[image, concept]
            expected = concept in best if said == unknown else said
            assert found[image, concept] == expected
    assert found[:, [2, 7]].sum() > 0
    nothing = positives.batch_positives(config, psi, np.zeros(50, np.int32))
    all_unknown = np.full_like(told, unknown)
    np.testing.assert_array_equal(
        positives.batch_positives(config, psi, np.zeros(50, np.int32), all_unknown), nothing
    )


def test_class_similarity_ignores_hubs():
    similarity = jnp.array([[0.9, 0.5, 0.1], [0.9, 0.1, 0.5]])
    centred = positives.class_positives(similarity, k=1)
    np.testing.assert_array_equal(centred, [[0, 1, 0], [0, 0, 1]])


def test_one_class_is_not_centred_away():
    mask = positives.class_positives(jnp.array([[0.1, 0.9, 0.5]]), k=2)
    np.testing.assert_array_equal(mask, [[0, 1, 1]])


@pytest.mark.parametrize("k", [1, 3, 7, 9])
def test_scores_mark_exactly_k_even_with_ties(k):
    mask = np.asarray(positives.from_scores(jnp.zeros((4, 7)), k))
    assert set(np.unique(mask)) <= {0.0, 1.0}
    np.testing.assert_array_equal(mask.sum(axis=1), min(k, 7))


def test_scores_mark_the_largest_and_pass_no_gradient():
    psi = jnp.asarray(np.random.default_rng(0).normal(size=(5, 11)), jnp.float32)
    mask = positives.from_scores(psi, 4)
    marked = np.where(np.asarray(mask) > 0, psi, np.inf).min(axis=1)
    unmarked = np.where(np.asarray(mask) > 0, -np.inf, psi).max(axis=1)
    assert (marked > unmarked).all()
    gradient = jax.grad(lambda psi: jnp.sum(positives.from_scores(psi, 4) * 2.0))(psi)
    assert (gradient == 0).all()
