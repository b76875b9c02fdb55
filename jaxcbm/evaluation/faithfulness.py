"""Whether the bars of an explanation are what the decision hangs on."""

import numpy as np

from jaxcbm.model.calibration import log_probabilities
from jaxcbm.model.prediction import Prediction

# Concepts that are taken away, or put back, one after the other.
_STEPS = 20


def faithfulness(prediction: Prediction, head_KxD: np.ndarray, seed: int = 0) -> dict[str, float]:
    """What becomes of the decision as the concepts that explain it are taken away.

    Deletion sets the concepts that the predicted class has weights for to neutral, one after the
    other; insertion begins where all of them are neutral and puts them back. The greatest
    contributions go first, or in the control any.

    Args:
        prediction: of N images.
        head_KxD: F.
        seed: of the random order.

    Returns:
        `deletion` and `insertion`: mean probability of the predicted class over 0 to 20 steps, low
        and high where bars are faithful; `random_deletion` and `random_insertion`, the same in
        random order; `bar_error`: how far a predicted class's logit is at most from the sum of its
        bars and what the class gets in every image.

    Reference: Petsiuk et al. 2018 (arXiv 1806.07421), there of pixels.

    >>> rows = np.array([[3.0, 1.0]])
    >>> found = faithfulness(Prediction.of(rows, ("a", "b"), rows), np.eye(2))
    >>> found["bar_error"], found["deletion"] < found["insertion"]
    (0.0, True)
    """
    predicted_N, rows_N = prediction.label_ids, np.arange(len(prediction.label_ids))
    values_NxD = head_KxD[predicted_N] * prediction.evidence
    logits_NxK = prediction.class_logits.astype(np.float64)
    rest_NxK = logits_NxK - prediction.evidence @ head_KxD.T
    apart_N = (rest_NxK - rest_NxK.mean(axis=0))[rows_N, predicted_N]
    # Concepts without a weight for the class stay as they are.
    moving_NxD = np.where(values_NxD == 0, 0.0, prediction.evidence)
    emptied_NxK = logits_NxK - moving_NxD @ head_KxD.T
    found = {"bar_error": float(np.abs(apart_N).max())}
    noise_NxD = np.random.default_rng(seed).random(values_NxD.shape)
    for name, priority_NxD in (("", values_NxD), ("random_", noise_NxD)):
        usable_NxD = np.where(values_NxD == 0, -np.inf, priority_NxD)
        order_NxM = np.argsort(-usable_NxD, axis=1, kind="stable")[:, :_STEPS]
        for kind, start_NxK, sign in (("deletion", logits_NxK, -1), ("insertion", emptied_NxK, 1)):
            curve = _confidences(prediction, head_KxD, start_NxK, sign * moving_NxD, order_NxM)
            found[f"{name}{kind}"] = float(np.mean(curve))
    return found


def _confidences(
    prediction: Prediction,
    head_KxD: np.ndarray,
    start_NxK: np.ndarray,
    change_NxD: np.ndarray,
    order_NxM: np.ndarray,
) -> list[float]:
    """Mean probability of the predicted class after 0, 1, ... M changes of concepts in an order."""
    rows_N, moved_NxK = np.arange(len(start_NxK)), start_NxK.copy()

    def confidence() -> float:
        log_p_NxK = log_probabilities(moved_NxK, prediction.temperature)
        return float(np.exp(log_p_NxK[rows_N, prediction.label_ids]).mean())

    curve = [confidence()]
    for d_N in order_NxM.T:
        moved_NxK += change_NxD[rows_N, d_N][:, None] * head_KxD.T[d_N]
        curve.append(confidence())
    return curve
