"""Whether a model is right as often as it says: proper scores and reliability."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxcbm.errors import UserError
from jaxcbm.model.calibration import fit_temperature, log_probabilities


class ReliabilityBins(NamedTuple):
    """Images grouped by the confidence of their prediction; groups without an image are left out.

    Attributes:
        lower: least confidence of each group's range, float64 [B], 0 to 1.
        upper: greatest, float64 [B].
        confidences: mean confidence of each group, float64 [B].
        accuracies: share of each group that is right, float64 [B].
        counts: images of each group, int64 [B].
    """

    lower: np.ndarray
    upper: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray
    counts: np.ndarray


def negative_log_likelihood(
    logits_NxK: np.ndarray, labels_N: np.ndarray, temperature: float = 1.0
) -> float:
    """Mean cross-entropy of the labels, in nats.

    >>> round(negative_log_likelihood(np.zeros((3, 4)), np.array([0, 1, 3])), 4) == 1.3863
    True
    """
    log_p_NxK = log_probabilities(logits_NxK, temperature)
    # + 0.0: of a model that is certain and right it is 0, and not -0.
    return float(-np.mean(log_p_NxK[np.arange(len(labels_N)), labels_N])) + 0.0


def brier_score(logits_NxK: np.ndarray, labels_N: np.ndarray, temperature: float = 1.0) -> float:
    """Mean over images of the squared distance between probabilities and the label, 0 to 2.

    Reference: Brier 1950, Verification of forecasts expressed in terms of probability.

    >>> brier_score(np.zeros((1, 2)), np.array([0]))
    0.5
    """
    p_NxK = np.exp(log_probabilities(logits_NxK, temperature))
    p_NxK[np.arange(len(labels_N)), labels_N] -= 1.0
    return float(np.mean(np.sum(p_NxK**2, axis=1)))


def reliability(
    logits_NxK: np.ndarray,
    labels_N: np.ndarray,
    *,
    bins: int = 15,
    scheme: str = "equal_mass",
    temperature: float = 1.0,
) -> ReliabilityBins:
    """Accuracy against confidence, the probability of the predicted class.

    Args:
        logits_NxK: class logits [N, K].
        labels_N: int [N] in [0, K).
        bins: groups at most; equal confidences stay together, so that there may be fewer.
        scheme: `equal_mass` (as many images in each) or `equal_width` (of the range 0 to 1).
        temperature: divides the logits.

    Returns:
        ReliabilityBins.

    Raises:
        UserError: an unknown scheme, no bins or no images.

    Reference: Guo et al. 2017 (arXiv 1706.04599) for equal width; Nixon et al. 2019 (arXiv
    1904.01685) for equal mass.

    >>> logits = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    >>> reliability(logits, np.array([0, 1, 1]), bins=10, scheme="equal_width").accuracies.tolist()
    [1.0, 0.5]
    """
    log_p_NxK = log_probabilities(logits_NxK, temperature)
    confidences_N = np.exp(log_p_NxK.max(axis=1, initial=-np.inf))
    right_N = log_p_NxK.argmax(axis=1) == labels_N
    return group_by_confidence(confidences_N, right_N, bins=bins, scheme=scheme)


def group_by_confidence(
    confidence_N: np.ndarray, right_N: np.ndarray, *, bins: int = 15, scheme: str = "equal_mass"
) -> ReliabilityBins:
    """As `reliability`, of any statements that are made with a probability, right or not [N].

    >>> said, right = np.array([0.25, 0.25, 1.0]), np.array([0, 1, 1])
    >>> group_by_confidence(said, right, bins=2).counts.tolist()
    [2, 1]
    """
    if scheme not in SCHEMES:
        raise UserError(f"no calibration scheme {scheme!r}: choose one of {', '.join(SCHEMES)}")
    if bins < 1 or len(right_N) == 0:
        raise UserError(f"reliability of {len(right_N)} images in {bins} bins: give some of both")
    edges = SCHEMES[scheme](confidence_N, bins)
    # A confidence that equals an edge belongs below it: the ranges are (lower, upper].
    group_N = np.searchsorted(edges[1:-1], confidence_N, side="left")
    counts = np.bincount(group_N, minlength=bins)
    kept = counts > 0

    def mean(values_N: np.ndarray) -> np.ndarray:
        return np.bincount(group_N, weights=values_N, minlength=bins)[kept] / counts[kept]

    return ReliabilityBins(
        edges[:-1][kept], edges[1:][kept], mean(confidence_N), mean(right_N), counts[kept]
    )


def expected_calibration_error(groups: ReliabilityBins) -> float:
    """Mean distance between confidence and accuracy over groups, weighted by their images, 0 to 1.

    Reference: Guo et al. 2017 (arXiv 1706.04599), equation 3.

    >>> logits = np.log([[0.9, 0.1], [0.9, 0.1]])
    >>> round(expected_calibration_error(reliability(logits, np.array([0, 1]))), 6)
    0.4
    """
    distances = np.abs(groups.confidences - groups.accuracies)
    return float(np.average(distances, weights=groups.counts))


def calibration_metrics(
    valid_logits_NxK: np.ndarray,
    valid_labels_N: np.ndarray,
    test_logits_NxK: np.ndarray,
    test_labels_N: np.ndarray,
    *,
    own_temperature: float = 1.0,
    bins: int = 15,
) -> dict[str, float]:
    """Calibration on test as the model is, and with the temperature that suits validation.

    Args:
        valid_logits_NxK: class logits of validation.
        valid_labels_N: int.
        test_logits_NxK: class logits of test.
        test_labels_N: int.
        own_temperature: of the model's own probabilities.
        bins: of `reliability`.

    Returns:
        `nll`, `brier`, `ece` (equal mass), `ece_equal_width`, the same with `scaled_` before them,
        and `temperature`.
    """
    temperature = fit_temperature(valid_logits_NxK, valid_labels_N)
    metrics = {"temperature": temperature}
    for prefix, value in (("", own_temperature), ("scaled_", temperature)):
        arguments = (test_logits_NxK, test_labels_N)
        metrics[f"{prefix}nll"] = negative_log_likelihood(*arguments, value)
        metrics[f"{prefix}brier"] = brier_score(*arguments, value)
        for name, scheme in (("ece", "equal_mass"), ("ece_equal_width", "equal_width")):
            groups = reliability(*arguments, bins=bins, scheme=scheme, temperature=value)
            metrics[f"{prefix}{name}"] = expected_calibration_error(groups)
    return metrics


def _equal_width(confidence_N: np.ndarray, bins: int) -> np.ndarray:
    return np.linspace(0.0, 1.0, bins + 1)


def _equal_mass(confidence_N: np.ndarray, bins: int) -> np.ndarray:
    return np.quantile(confidence_N, np.linspace(0.0, 1.0, bins + 1))


SCHEMES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "equal_mass": _equal_mass,
    "equal_width": _equal_width,
}
