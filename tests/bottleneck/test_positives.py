"""Positives: masks in {0, 1} from annotations, class texts and scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck import positives


def test_annotations_reach_the_concepts_that_name_them():
    columns = positives.match_phrases(
        ["Red crown", "no such thing", "long  TAIL"], ["long tail", "red crown", "big"]
    )
    assert columns.tolist() == [1, -1, 0]


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
