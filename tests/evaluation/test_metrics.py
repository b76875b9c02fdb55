import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.evaluation import metrics


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(5, 60))
@settings(max_examples=30)
def test_precision_recall_and_f1_are_scikit_learns(seed, classes, images):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, classes, (2, images))
    counts = metrics.confusion_matrix(labels, predicted, classes)
    np.testing.assert_array_equal(
        counts, sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes))
    )
    ours = metrics.precision_recall_f1(counts)
    for average in ("macro", "weighted"):
        theirs = sklearn.metrics.precision_recall_fscore_support(
            labels, predicted, labels=np.unique(labels), average=average, zero_division=0
        )
        for name, value in zip(("precision", "recall", "f1"), theirs, strict=False):
            assert ours[f"{average}_{name}"] == pytest.approx(value)


@given(st.integers(0, 10_000), st.integers(4, 50))
@settings(max_examples=30)
def test_concept_auc_is_scikit_learns_also_with_ties(seed, images):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (images, 3)).astype(np.float32)
    present = rng.integers(0, 2, (images, 3)).astype(np.float32)
    present[:2, 0], present[:2, 1] = (0, 1), (1, 0)
    present[:, 2] = 1.0
    ours = metrics.concept_auc(scores, present)
    for d in (0, 1):
        expected = sklearn.metrics.roc_auc_score(present[:, d], scores[:, d])
        assert ours[d] == pytest.approx(expected)
    assert np.isnan(ours[2])


def test_unknown_annotations_are_left_out():
    scores = np.array([[0.1], [0.9], [0.5]])
    present = np.array([[0.0], [1.0], [np.nan]])
    assert metrics.concept_auc(scores, present)[0] == 1.0


def test_a_constant_model_gets_no_credit_for_ties():
    logits = np.zeros((4, 3))
    assert metrics.top_k_accuracy(logits, np.array([0, 1, 2, 0])) == 0.0
    assert metrics.top_k_accuracy(logits, np.array([0, 1, 2, 0]), k=3) == 1.0


def test_fidelity_is_correlation_and_survives_constants():
    rng = np.random.default_rng(0)
    psi = rng.normal(size=(50, 3))
    z = np.stack([2 * psi[:, 0] + 1, -psi[:, 1], np.ones(50)], axis=1)
    fidelity = metrics.concept_fidelity(z, psi)
    np.testing.assert_allclose(fidelity[:2], [1.0, -1.0], atol=1e-9)
    assert np.isnan(fidelity[2])


def test_sparsity_counts_what_is_used():
    head = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert metrics.mean_effective_concepts(head) == 1.0
    activations = np.array([[1.0, 5.0, 1.0], [1.0, 1.0, 1.0]])
    assert metrics.active_concepts(activations, head, np.array([0, 1])) == 1.0
