"""Concept erasure against the published construction, brute force, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.bottleneck.erasure import erase, erase_classes
from jaxcbm.errors import UserError


def problem(images=400, inputs=7, classes=4, outputs=5, seed=0):
    """Correlated inputs whose means and offsets depend on the class, and weights to erase from."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    rows = rng.normal(size=(images, inputs)) @ rng.normal(size=(inputs, inputs))
    rows += 2 * rng.normal(size=(classes, inputs))[labels] + 3
    return rng.normal(size=(inputs, outputs)), rows, labels


def class_means(values, labels):
    return np.stack([values[labels == k].mean(axis=0) for k in np.unique(labels)])


@given(seed=st.integers(0, 20), share=st.floats(0.0, 1.0))
def test_class_means_come_closer_by_the_share_and_the_common_mean_stays(seed, share):
    weights, rows, labels = problem(seed=seed)
    erased = erase_classes(weights, rows, labels, share)
    centred = rows - rows.mean(axis=0)
    before, after = (class_means(centred @ w, labels) for w in (weights, erased))
    np.testing.assert_allclose(after, (1 - share) * before, atol=1e-8)


def test_it_is_the_published_eraser():
    """LEACE whitens, projects and takes the whitening back: theorem 4.2 of arXiv 2306.03819."""
    weights, rows, labels = problem()
    centred = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    whiten, back = (vectors * values**power @ vectors.T for power in (-0.5, 0.5))
    onehot = np.eye(4)[labels]
    cross = whiten @ centred.T @ (onehot - onehot.mean(axis=0)) / len(rows)
    projection = back @ cross @ np.linalg.pinv(cross, rcond=1e-9) @ whiten
    published = (centred - centred @ projection.T) @ weights
    np.testing.assert_allclose(centred @ erase_classes(weights, rows, labels), published, atol=1e-4)


def test_no_other_weights_with_equal_class_means_change_the_outputs_less():
    """The smallest change, from a least-squares problem in a basis of all that is allowed."""
    weights, rows, labels = problem()
    centred = rows - rows.mean(axis=0)
    deviations = class_means(centred, labels)
    allowed = np.linalg.svd(deviations)[2][3:].T
    chosen = np.linalg.lstsq(centred @ allowed, centred @ weights, rcond=None)[0]
    np.testing.assert_allclose(erase_classes(weights, rows, labels), allowed @ chosen, atol=1e-4)


def test_any_targets_lose_their_covariance():
    weights, rows, labels = problem()
    targets = np.stack([np.sin(labels), rows[:, 0] ** 2], axis=1)
    erased = erase(weights, rows, targets)
    centred = targets - targets.mean(axis=0)
    np.testing.assert_allclose(centred.T @ rows @ erased / len(rows), 0, atol=1e-8)
    onehot = np.eye(4)[labels]
    same = erase(weights, rows, onehot, 0.3)
    np.testing.assert_array_equal(erase_classes(weights, rows, labels, 0.3), same)


def test_names_of_classes_and_coordinates_of_inputs_do_not_matter():
    weights, rows, labels = problem()
    erased = erase_classes(weights, rows, labels)
    renamed = np.array([30, 10, 20, 0])[labels]
    np.testing.assert_allclose(erase_classes(weights, rows, renamed), erased, atol=1e-8)
    turn = np.random.default_rng(1).normal(size=(7, 7))
    moved = erase_classes(np.linalg.solve(turn, weights), rows @ turn + 5.0, labels)
    np.testing.assert_allclose(turn @ moved, erased, atol=1e-3)


def test_erasing_twice_changes_nothing_more():
    weights, rows, labels = problem()
    once = erase_classes(weights, rows, labels)
    np.testing.assert_allclose(erase_classes(once, rows, labels), once, atol=1e-8)


def test_an_input_that_never_moves_does_no_harm():
    weights, rows, labels = problem()
    rows[:, 2] = 4.0
    erased = erase_classes(weights, rows, labels)
    assert np.isfinite(erased).all()
    np.testing.assert_allclose(
        class_means((rows - rows.mean(axis=0)) @ erased, labels), 0, atol=1e-8
    )


def test_classes_that_span_everything_are_refused():
    weights, rows, labels = problem(classes=8)
    with pytest.raises(UserError, match="8 classes span all 7 numbers"):
        erase_classes(weights, rows, labels)
