"""What turns a model's numbers into probabilities and percentiles."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from jaxcbm.model.calibration import Calibration, fit_calibration, fit_temperature
from jaxcbm.model.prediction import Prediction


def activations(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four concepts, of which the second is of unknown presence and the third always there."""
    rng = np.random.default_rng(seed)
    present = (rng.random((images, 4)) < [0.5, 0.5, 1.0, 0.2]).astype(float)
    rows = rng.normal(2.0, 1.0, (images, 4)) + present * [2.0, 0.0, 1.0, -3.0]
    present[:, 1] = np.nan
    return rows.astype(np.float32), present


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    (train, on_train), (valid, on_valid) = activations(700, 0), activations(400, 1)
    logits = np.random.default_rng(2).normal(size=(400, 3))
    labels = on_train[:, 0].astype(int)
    told = {"train_present_NxD": on_train, "valid_present_MxD": on_valid}
    return fit_calibration(train, labels, valid, logits, logits.argmax(axis=1), **told)


def test_probabilities_are_logistic_regressions_on_validation(fitted):
    rows, _ = activations(50, 3)
    valid, present = activations(400, 1)
    found = fitted.concept_probabilities(rows)
    for d in (0, 3):
        scaled = [(part[:, [d]] - valid[:, d].mean()) / valid[:, d].std() for part in (valid, rows)]
        model = LogisticRegression(C=1 / (1e-3 * 400), tol=1e-10).fit(scaled[0], present[:, d])
        np.testing.assert_allclose(found[:, d], model.predict_proba(scaled[1])[:, 1], atol=1e-3)
    # Unknown everywhere, and known to be everywhere: nothing tells how likely.
    assert np.isnan(found[:, 1:3]).all()


def test_presence_goes_by_probability_and_else_by_the_train_mean(fitted):
    rows, _ = activations(200, 4)
    found, likely = fitted.is_present(rows), fitted.concept_probabilities(rows)
    np.testing.assert_array_equal(found[:, [0, 3]], likely[:, [0, 3]] > 0.5)
    np.testing.assert_array_equal(found[:, 1:3], rows[:, 1:3] > activations(700, 0)[0].mean(0)[1:3])
    # A concept that lowers its activation is present where that is low.
    assert rows[found[:, 3], 3].mean() < rows[~found[:, 3], 3].mean()


@given(st.lists(st.floats(-5, 9, width=32), min_size=2, max_size=2))
def test_percentiles_are_monotone_and_near_the_share_of_train_images_below(fitted, values):
    train = activations(700, 0)[0]
    low, high = sorted(values)
    first, second = (fitted.percentiles(np.full(4, x, np.float32)) for x in (low, high))
    assert (first <= second).all() and (first >= 0).all() and (second <= 1).all()
    np.testing.assert_allclose(first, (train < low).mean(axis=0), atol=0.015)


def test_percentiles_of_values_that_many_images_share():
    """Activations of a sparse sampler are exactly 0 for most images: none of them is lower."""
    train = np.concatenate([np.zeros((80, 1)), np.linspace(1, 2, 20)[:, None]]).astype(np.float32)
    labels = np.arange(100) % 2
    found = fit_calibration(train, labels, train, np.eye(2)[labels], labels)
    said = [float(found.percentiles(np.array([x], np.float32))[0]) for x in (0.0, 0.5, 1.5, 2.0)]
    assert said[0] == 0.0
    np.testing.assert_allclose(said[1:], [0.8, 0.9, 1.0], atol=0.02)


def test_a_prediction_reads_its_probabilities_from_the_record(fitted):
    rows, logits = activations(5, 6)[0], np.random.default_rng(0).normal(size=(5, 3))
    plain = Prediction.of(logits, ("a", "b", "c"), rows)
    cold = replace(plain, calibration=replace(fitted, temperature=0.25))
    expected = np.exp(4 * logits) / np.exp(4 * logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(cold.class_probabilities, expected)
    np.testing.assert_array_equal(cold.concept_probabilities, fitted.concept_probabilities(rows))
    assert np.isnan(plain.concept_probabilities).all()
    np.testing.assert_allclose(plain.class_probabilities.sum(axis=1), 1.0)


def test_the_temperature_is_of_validation(fitted):
    logits = np.random.default_rng(2).normal(size=(400, 3))
    assert fitted.temperature == fit_temperature(logits, logits.argmax(axis=1))


def test_means_typical_values_and_frequencies_are_of_train(fitted):
    train, present = activations(700, 0)
    # The unknown concept counts as there above its mean; of one that is everywhere, nothing tells.
    present[:, 1] = train[:, 1] > train[:, 1].mean()
    np.testing.assert_allclose(fitted.mean, train.mean(axis=0), rtol=1e-5)
    for d in (0, 1, 3):
        there = train[present[:, d] == 1, d].mean(), train[present[:, d] == 0, d].mean()
        np.testing.assert_allclose((fitted.present[d], fitted.absent[d]), there, rtol=1e-5)
    assert fitted.present[2] == fitted.absent[2] == pytest.approx(train[:, 2].mean())
    for k in (0, 1):
        own = present[present[:, 0] == k]
        expected = (own.sum(axis=0) + present.mean(axis=0)) / (len(own) + 1)
        np.testing.assert_allclose(fitted.frequencies[k], np.clip(expected, 1e-3, 0.999), rtol=1e-5)
