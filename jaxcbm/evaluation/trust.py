"""Whether sets hold the right class as often as stated, and what abstaining buys."""

import numpy as np

from jaxcbm.model.familiarity import ANSWERED, COVERAGE, UNFAMILIAR
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.prediction_sets import prediction_sets, set_threshold


def selective_accuracy(
    probabilities_NxK: np.ndarray, labels_N: np.ndarray, answered: float = ANSWERED
) -> float:
    """Accuracy on the share of images whose predicted class is likeliest; the rest is abstained.

    Where equal probabilities lie on both sides of the cut, each of them counts in part.

    Reference: Geifman and El-Yaniv 2017 (arXiv 1705.08500), section 2.

    >>> p = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.5, 0.5]])
    >>> selective_accuracy(p, np.array([0, 1, 0, 1]), 0.75)
    0.8333333333333334
    """
    highest_N = probabilities_NxK.max(axis=1)
    right_N = probabilities_NxK.argmax(axis=1) == labels_N
    count = max(round(answered * len(labels_N)), 1)
    least = np.sort(highest_N)[-count]
    above_N, at_N = highest_N > least, highest_N == least
    room = count - above_N.sum()
    return float((right_N[above_N].sum() + room * right_N[at_N].mean()) / count)


def trust_metrics(
    valid_probabilities_MxK: np.ndarray,
    valid_labels_M: np.ndarray,
    test: Prediction,
    test_probabilities_NxK: np.ndarray,
    test_labels_N: np.ndarray,
) -> dict[str, float]:
    """How far a method says itself when not to trust it.

    Args:
        valid_probabilities_MxK: of validation, with the temperature that suits it.
        valid_labels_M: int [M].
        test: what the method says of test.
        test_probabilities_NxK: of test, with the same temperature.
        test_labels_N: int [N].

    Returns:
        `set_coverage`, the share of test images whose 95 % set holds their class; `set_size`, mean
        number of classes in it; `selective_top1`, see `selective_accuracy`; and of a model that
        can tell (`Familiarity.can_tell`) `unfamiliar`, the share of test images that it calls
        unlike train.
    """
    threshold = set_threshold(valid_probabilities_MxK, valid_labels_M, COVERAGE)
    sets_NxK = prediction_sets(test_probabilities_NxK, threshold)
    metrics = {
        "set_coverage": float(sets_NxK[np.arange(len(test_labels_N)), test_labels_N].mean()),
        "set_size": float(sets_NxK.sum(axis=1).mean()),
        "selective_top1": selective_accuracy(test_probabilities_NxK, test_labels_N),
    }
    if test.trust is not None and test.trust.can_tell:
        metrics["unfamiliar"] = float(np.mean(test.familiarity <= UNFAMILIAR))
    return metrics
