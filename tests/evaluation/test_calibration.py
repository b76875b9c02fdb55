import numpy as np
import pytest
import scipy.optimize
import sklearn.calibration
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.errors import UserError
from jaxcbm.evaluation import calibration
from jaxcbm.model.calibration import fit_temperature, log_probabilities


def sharp_logits(seed: int, images: int = 400, classes: int = 5, sharpness: float = 3.0):
    """Labels drawn from the softmax of some logits, and those logits made too sharp."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (images, classes))
    labels = np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)
    return sharpness * logits, labels


def test_scores_are_scikit_learns():
    logits, labels = sharp_logits(0)
    probabilities = np.exp(log_probabilities(logits))
    assert calibration.negative_log_likelihood(logits, labels) == pytest.approx(
        sklearn.metrics.log_loss(labels, probabilities)
    )
    one_hot = np.eye(5)[labels]
    # For each class alone, the mean squared error is scikit-learn's binary Brier score.
    binary = [
        sklearn.metrics.brier_score_loss(one_hot[:, k], probabilities[:, k]) for k in range(5)
    ]
    assert calibration.brier_score(logits, labels) == pytest.approx(sum(binary))


@pytest.mark.parametrize(
    ("scheme", "theirs"), [("equal_width", "uniform"), ("equal_mass", "quantile")]
)
def test_groups_are_scikit_learns(scheme, theirs):
    logits, labels = sharp_logits(1)
    probabilities = np.exp(log_probabilities(logits))
    right = probabilities.argmax(axis=1) == labels
    accuracies, confidences = sklearn.calibration.calibration_curve(
        right, probabilities.max(axis=1), n_bins=10, strategy=theirs
    )
    groups = calibration.reliability(logits, labels, bins=10, scheme=scheme)
    np.testing.assert_allclose(groups.accuracies, accuracies)
    np.testing.assert_allclose(groups.confidences, confidences)
    assert groups.counts.sum() == len(labels)


def test_calibration_error_by_hand():
    # Confidences .95, .95, .55 and .75: groups of .5 | .6 ... in ten equal widths.
    logits = np.log([[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.75, 0.25]])
    groups = calibration.reliability(logits, np.array([0, 1, 1, 0]), bins=10, scheme="equal_width")
    np.testing.assert_allclose(groups.lower, [0.5, 0.7, 0.9])
    np.testing.assert_allclose(groups.upper, [0.6, 0.8, 1.0])
    np.testing.assert_array_equal(groups.counts, [1, 1, 2])
    expected = (1 * 0.45 + 1 * 0.25 + 2 * 0.45) / 4
    assert calibration.expected_calibration_error(groups) == pytest.approx(expected)


@given(st.integers(0, 10_000), st.sampled_from(sorted(calibration.SCHEMES)))
@settings(max_examples=25, deadline=None)
def test_groups_do_not_depend_on_the_order_of_images(seed, scheme):
    rng = np.random.default_rng(seed)
    # Few distinct logits: many equal confidences, which must not be parted by their position.
    logits = rng.integers(0, 3, (40, 3)).astype(float)
    labels, order = rng.integers(0, 3, 40), rng.permutation(40)
    here = calibration.reliability(logits, labels, bins=7, scheme=scheme)
    there = calibration.reliability(logits[order], labels[order], bins=7, scheme=scheme)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("sharpness", [0.05, 0.4, 3.0, 60.0])
def test_temperature_is_the_minimum(sharpness):
    logits, labels = sharp_logits(2, sharpness=sharpness)
    found = scipy.optimize.minimize_scalar(
        lambda x: calibration.negative_log_likelihood(logits, labels, np.exp(x)),
        bounds=(-5, 6),
        method="bounded",
        options={"xatol": 1e-10},
    )
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(np.exp(found.x), rel=1e-4)
    # The labels were drawn from the logits before they were made sharp.
    assert temperature == pytest.approx(sharpness, rel=0.2)


def test_temperature_of_a_model_without_errors_stays_finite():
    logits, right, wrong = np.eye(3) * 2.0, np.arange(3), np.array([1, 2, 0])
    sharpest = fit_temperature(logits, right)
    assert 1e-3 <= sharpest < 0.1
    assert calibration.negative_log_likelihood(logits, right, sharpest) < 1e-12
    assert fit_temperature(logits, wrong) == pytest.approx(1e3, rel=1e-3)
    assert np.isfinite(fit_temperature(np.zeros((3, 3)), right))


def test_a_certain_and_right_model_has_no_negative_zero():
    logits = np.array([[900.0, 0.0], [0.0, 900.0]])
    assert str(calibration.negative_log_likelihood(logits, np.array([0, 1]))) == "0.0"


def test_large_logits_do_not_overflow():
    logits = np.array([[1e5, 0.0], [0.0, 1e5]], np.float32)
    assert calibration.negative_log_likelihood(logits, np.array([0, 1])) == 0.0
    assert calibration.negative_log_likelihood(logits, np.array([1, 1])) == pytest.approx(5e4)


def test_scaling_repairs_a_model_that_is_too_sure():
    valid, test = sharp_logits(3), sharp_logits(4)
    metrics = calibration.calibration_metrics(*valid, *test)
    for name in ("nll", "brier", "ece", "ece_equal_width"):
        assert metrics[f"scaled_{name}"] < metrics[name], name
    assert metrics["scaled_ece"] < 0.08 < 0.15 < metrics["ece"]


def test_faults_are_named():
    logits, labels = sharp_logits(5, images=4)
    with pytest.raises(UserError, match=r"no calibration scheme 'mass'.*equal_mass, equal_width"):
        calibration.reliability(logits, labels, scheme="mass")
    with pytest.raises(UserError, match="0 images"):
        calibration.reliability(logits[:0], labels[:0])
