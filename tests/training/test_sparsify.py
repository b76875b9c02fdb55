"""The sparse head on corrected activations, and the point that is chosen on the path."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.bottleneck.sparse.choice import choose_sparse_head
from jaxcbm.model.concept_values import concept_values, replacements
from jaxcbm.training.sparsify import correct_some


def problem(images=300, concepts=6, classes=3, seed=0):
    """Concepts decide the class; activations are a noisy reading of them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    truth_KxD = np.eye(classes, concepts) + np.eye(classes, concepts, classes)
    present = np.where(
        rng.random((images, concepts)) < 0.1, 1 - truth_KxD[labels], truth_KxD[labels]
    )
    activations = (present + rng.normal(0, 0.8, present.shape)).astype(np.float32)
    return activations, labels, present.astype(np.float32)


@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 5))
def test_corrections_are_right_and_as_many_as_asked_for(share, seed):
    activations, _, present = problem()
    corrected = correct_some(activations, present, share, seed)
    right = replacements(concept_values(activations, present), present)
    changed = corrected != activations
    np.testing.assert_allclose(corrected[changed], right[changed], rtol=1e-6)
    assert abs(changed.mean() - share) < 0.06


def test_unknown_annotations_correct_nothing():
    activations, _, present = problem()
    present[:, 2] = np.nan
    corrected = correct_some(activations, present, 1.0)
    np.testing.assert_array_equal(corrected[:, 2], activations[:, 2])
    assert (corrected[:, 1] != activations[:, 1]).all()


def test_a_head_that_has_seen_corrections_gains_from_them():
    activations, labels, present = problem()
    fresh, fresh_labels, fresh_present = problem(seed=1)
    right = replacements(concept_values(activations, present), fresh_present).astype(np.float32)

    def accuracy(rows, choice):
        return np.mean(np.argmax(rows @ choice.head.T + choice.bias, axis=1) == fresh_labels)

    corrected = np.concatenate([activations, correct_some(activations, present, 0.5)])
    choice = choose_sparse_head(corrected, np.tile(labels, 2), fresh, fresh_labels, 3)
    assert accuracy(right, choice) > accuracy(fresh, choice) + 0.1


def test_the_choice_reads_the_same_in_both_coordinates():
    """Scales and offsets of activations change neither predictions nor which weights are zero."""
    activations, labels, _ = problem()
    moved = (activations * np.geomspace(0.01, 100, 6) + 3).astype(np.float32)
    one = choose_sparse_head(activations, labels, activations, labels, 3, path_length=6)
    other = choose_sparse_head(moved, labels, moved, labels, 3, path_length=6)
    np.testing.assert_array_equal(one.head != 0, other.head != 0)
    np.testing.assert_allclose(
        activations @ one.head.T + one.bias, moved @ other.head.T + other.bias, atol=2e-2
    )
    curves = (
        choice.curve(rows, labels, (1, 3)) for choice, rows in ((one, activations), (other, moved))
    )
    first, second = (np.asarray(curve.accuracies) for curve in curves)
    np.testing.assert_allclose(first, second, atol=0.01)


@pytest.mark.parametrize("within", [0.0, 0.05, 1.0])
def test_sparsity_may_cost_so_much_and_no_more(within):
    activations, labels, _ = problem()
    choice = choose_sparse_head(activations, labels, activations, labels, 3, within=within)
    assert choice.valid_top1[choice.chosen] >= choice.valid_top1.max() - within - 1e-5
    assert (choice.valid_top1[: choice.chosen] < choice.valid_top1.max() - within + 1e-5).all()
