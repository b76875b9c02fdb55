"""The sparse head on corrected activations, and the point that is chosen on the path."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.bottleneck.sparse import choice
from jaxcbm.bottleneck.sparse.choice import choose_point, choose_sparse_head
from jaxcbm.bottleneck.sparse.corrected_copy import correct_some
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features
from jaxcbm.model.concept_values import concept_values, replacements
from jaxcbm.training.config import SparseHeadConfig
from jaxcbm.training.sparsify import sparsify


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


def cross_entropies(choice, rows, labels):
    """Of every head of the path, in float64, one image after the other."""
    path, losses = choice.path.unpack(len(choice.mean)), []
    for weights, bias in zip(path.weights, path.biases, strict=True):
        logits = choice.standardise(rows).astype(np.float64) @ np.asarray(weights).T
        logits += np.asarray(bias)
        odds = [np.exp(row - row[label]).sum() for row, label in zip(logits, labels, strict=True)]
        losses.append(np.mean(np.log(odds)))
    return np.array(losses)


@pytest.mark.parametrize("within", [0.0, 0.02, 0.5, 9.0])
def test_sparsity_may_cost_so_much_and_no_more(within):
    activations, labels, _ = problem()
    fresh, fresh_labels, _ = problem(seed=1)
    choice = choose_sparse_head(activations, labels, fresh, fresh_labels, 3, within=within)
    losses = cross_entropies(choice, fresh, fresh_labels)
    limit = (1 + within) * losses.min()
    assert losses[choice.chosen] <= limit + 1e-5
    assert (losses[: choice.chosen] > limit - 1e-5).all()


def test_a_size_that_is_asked_for_is_the_nearest_on_the_path():
    activations, labels, _ = problem()
    for nec in (1.0, 2.5, 100.0):
        choice = choose_sparse_head(activations, labels, activations, labels, 3, nec=nec)
        distances = np.abs(choice.path.nec - nec)
        assert distances[choice.chosen] == distances.min()
        assert (distances[: choice.chosen] > distances.min()).all()
        assert np.count_nonzero(choice.head) == round(3 * float(choice.path.nec[choice.chosen]))


@given(
    losses=st.lists(st.floats(0.1, 10.0), min_size=2, max_size=30),
    within=st.floats(0.0, 2.0),
    more=st.floats(0.0, 2.0),
)
def test_a_larger_margin_never_chooses_a_larger_head(losses, within, more):
    losses, nec = np.array(losses), np.arange(len(losses), dtype=float)
    chosen = choose_point(losses, nec, within=within)
    assert choose_point(losses, nec, within=within + more) <= chosen
    assert choose_point(losses, nec, within=0.0) == np.argmin(losses)


def test_validation_images_that_change_sides_do_not_move_the_choice():
    """Accuracy is a coin toss between near-equal heads; cross-entropy hardly sees one image."""
    activations, labels, _ = problem(concepts=12, seed=2)
    rng, chosen, by_accuracy = np.random.default_rng(0), [], []
    fresh, fresh_labels, _ = problem(images=120, concepts=12, seed=3)
    for _ in range(8):
        noisy = (fresh + rng.normal(0, 0.1, fresh.shape)).astype(np.float32)
        choice = choose_sparse_head(activations, labels, noisy, fresh_labels, 3)
        chosen.append(choice.path.nec[choice.chosen])
        best = choice.valid_top1.max()
        by_accuracy.append(choice.path.nec[np.argmax(choice.valid_top1 >= best - 0.005)])
    assert np.std(chosen) <= 0.5 * np.std(by_accuracy)


def test_a_weight_of_two_is_an_image_twice():
    few, labels, _ = problem(images=60)
    others = np.roll(labels, 7)
    # The statistics of activations are not weighted: the same images keep them the same.
    weighted = np.tile(few, (2, 1)), np.concatenate([labels, others])
    copied = np.tile(few, (3, 1)), np.concatenate([labels, labels, others])
    exact: dict[str, Any] = {"tolerance": 1e-5, "max_iterations": 20_000, "nec": 1.5}
    want = choose_sparse_head(*copied, few, labels, 3, **exact)
    for first, same in ((2.0, True), (1.0, False)):
        weights = np.repeat([first, 1.0], 60)
        found = choose_sparse_head(*weighted, few, labels, 3, weights=weights, **exact)
        logits = [few @ choice.head.T + choice.bias for choice in (found, want)]
        centred = [each - each.mean(axis=1, keepdims=True) for each in logits]
        assert (np.abs(np.subtract(*centred)).max() < 0.02) == same


def test_corrected_copies_weigh_what_the_config_says(monkeypatch):
    """With weight 0 a copy changes nothing but the statistics of activations; 1 is an image."""
    seen = {}

    def remember(*args, weights=None, **settings):
        seen["weights"] = weights
        raise InterruptedError

    monkeypatch.setattr("jaxcbm.training.sparsify.choose_sparse_head", remember)
    activations, labels, present = problem(images=6)
    features = Features.from_arrays(
        np.eye(6, dtype=np.float32),
        labels,
        ["owl", "wren", "tit"],
        annotations=present,
        annotation_phrases=[f"phrase {d}" for d in range(6)],
    )
    said = SimpleNamespace(concept_activations=activations)
    model = SimpleNamespace(
        predict_embeddings=lambda rows: said,
        concepts=ConceptSet.from_phrases(features.annotation_phrases),
        classes=features.classes,
    )
    for config, expected in (
        (SparseHeadConfig(copy_weight=0.25), [1.0] * 6 + [0.25] * 6),
        (SparseHeadConfig(intervened=0.0), None),
    ):
        with pytest.raises(InterruptedError):
            sparsify(cast(Any, model), features, features, config)
        weights = seen["weights"]
        assert (None if weights is None else weights.tolist()) == expected


def test_a_path_ends_where_all_that_is_asked_for_has_passed(monkeypatch):
    """The rest of it would be solved for nothing: the choice and the curve are the whole path's."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 160)
    rows = rng.normal(size=(160, 50)).astype(np.float32)
    rows[:, :3] += 1.5 * (labels[:, None] == np.arange(3))
    parts = rows[:80], labels[:80], rows[80:], labels[80:], 3
    whole = choose_sparse_head(*parts, path_length=30)
    monkeypatch.setattr(choice, "_HEADS", 5)
    assert len(choose_sparse_head(*parts, path_length=30).path.nec) == 30
    monkeypatch.setattr(choice, "LARGEST_NEC", 10.0)
    ended = choose_sparse_head(*parts, path_length=30)
    count = len(ended.path.nec)
    assert count < 30 and ended.chosen == whole.chosen and ended.path.nec[-1] >= 10
    np.testing.assert_allclose(ended.head, whole.head, atol=2e-3)
    np.testing.assert_allclose(ended.path.lambdas, whole.path.lambdas[:count], rtol=1e-6)
    curves = [each.curve(*parts[2:4], targets=(5, 10)) for each in (whole, ended)]
    np.testing.assert_allclose(*(curve.accuracies for curve in curves), atol=0.02)
    asked = choose_sparse_head(*parts, path_length=30, nec=30.0)
    assert len(asked.path.nec) > count and asked.path.nec[asked.chosen] > 20
