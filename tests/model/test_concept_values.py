import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxcbm.model.concept_values import (
    concept_values,
    encoder_answers,
    predicted_presence,
    replacements,
)


@pytest.fixture(scope="module")
def data():
    """Activations that are larger where their concept is present, by another amount for each."""
    rng = np.random.default_rng(0)
    present = (rng.random((500, 4)) < [0.5, 0.2, 0.8, 0.05]).astype(float)
    shift = np.array([3.0, 0.5, -2.0, 40.0])
    return rng.normal(5.0, 1.0, (500, 4)) + shift * present, present


def test_means_by_hand_skip_what_is_unknown():
    activations = np.array([[1.0, 1.0], [3.0, 2.0], [10.0, 3.0], [99.0, 4.0]])
    present = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [np.nan, np.nan]])
    values = concept_values(activations, present)
    assert (values.absent[0], values.present[0]) == (2.0, 10.0)
    # No image is without the second concept: nothing can be said about its absence.
    assert all(np.isnan(x[1]) for x in values)


def test_beliefs_are_logistic_regressions(data):
    activations, present = data
    values = concept_values(activations, present)
    believed = predicted_presence(values, activations)
    for d in (0, 1, 2):
        scaled = (activations[:, [d]] - activations[:, d].mean()) / activations[:, d].std()
        # Half the squared slope times the ridge, in scikit-learn's units.
        reference = LogisticRegression(C=1 / (1e-3 * 500), tol=1e-10).fit(scaled, present[:, d])
        np.testing.assert_allclose(believed[:, d], reference.predict_proba(scaled)[:, 1], atol=1e-4)
    # Perfectly parted, and still finite.
    assert np.isfinite(values.slope).all()
    assert (believed[present[:, 3] == 1, 3] > 0.9).all()


def test_nothing_is_believed_of_concepts_without_annotations(data):
    values = concept_values(data[0], np.full_like(data[1], np.nan))
    assert (predicted_presence(values, data[0]) == 0.5).all()
    assert np.isnan(replacements(values, data[1])).all()


def test_answers_become_typical_activations(data):
    values = concept_values(*data)
    answers = data[1].copy()
    answers[7, 2] = np.nan
    found = replacements(values, answers)
    assert np.isnan(found[7, 2]) and np.isnan(found).sum() == 1
    np.testing.assert_array_equal(found[answers[:, 0] == 1, 0], values.present[0])
    np.testing.assert_array_equal(found[answers[:, 0] == 0, 0], values.absent[0])


def test_the_encoder_answers_as_often_as_annotations_do(data):
    scores, present = data
    shares = encoder_answers(scores, scores, present).mean(axis=0)
    np.testing.assert_allclose(shares, present.mean(axis=0), atol=2 / len(scores))
    np.testing.assert_allclose(encoder_answers(scores, scores).mean(axis=0), 0.5, atol=0.01)
    unknown = np.full_like(present, np.nan)
    np.testing.assert_array_equal(
        encoder_answers(scores, scores, unknown), encoder_answers(scores, scores)
    )
