"""Whether what an explanation says of a picture is true of it."""

import numpy as np

from jaxcbm.evaluation.calibration import expected_calibration_error, group_by_confidence
from jaxcbm.model.prediction import Prediction

SHOWN = (1, 3, 5)
PARTS = ("present", "absent", "right", "wrong")


def concept_ece(prediction: Prediction, present_NxD: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the probabilities of concepts, over all known pairs, 0 to 1.

    Args:
        prediction: with a calibration.
        present_NxD: annotations: 1 present, 0 absent, NaN unknown.
        bins: groups of equally many pairs.

    Returns:
        NaN where nothing is known.
    """
    probabilities_NxD = prediction.concept_probabilities
    known_NxD = ~np.isnan(present_NxD) & ~np.isnan(probabilities_NxD)
    if not known_NxD.any():
        return float("nan")
    groups = group_by_confidence(probabilities_NxD[known_NxD], present_NxD[known_NxD], bins=bins)
    return expected_calibration_error(groups)


def explanation_truth(
    prediction: Prediction, head_KxD: np.ndarray, labels_N: np.ndarray, present_NxD: np.ndarray
) -> dict[str, float]:
    """How many of the supporting reasons shown are true of the picture by its annotations.

    The reasons shown are the concepts of greatest positive contribution to the predicted class. One
    says that its concept is there, or that it is not (`Calibration.is_present`); those of unknown
    truth do not count.

    Args:
        prediction: of N images, with a calibration.
        head_KxD: F.
        labels_N: int [N].
        present_NxD: annotations: 1 present, 0 absent, NaN unknown.

    Returns:
        Shares over all reasons, 0 to 1, NaN where there is none: `explanation_truth_1`, `_3` and
        `_5`; of the five, `_present_5` of those that say a concept is there, `_absent_5` of the
        others, `_right_5` and `_wrong_5` of right and wrong predictions.

    >>> from jaxcbm.model.calibration import fit_calibration
    >>> rows, present = np.array([[3.0, -2.0], [-1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 1.0]])
    >>> record = fit_calibration(rows, np.arange(2), rows, rows, np.arange(2))
    >>> prediction = Prediction.of(rows, ("a", "b"), rows, calibration=record)
    >>> explanation_truth(prediction, np.eye(2), np.array([0, 1]), present)["explanation_truth_5"]
    1.0
    """
    assert prediction.calibration is not None
    contributions_NxD = head_KxD[prediction.label_ids] * prediction.evidence
    most = min(max(SHOWN), head_KxD.shape[1])
    shown_NxS = np.argsort(-contributions_NxD, axis=1, kind="stable")[:, :most]
    said_NxD = prediction.calibration.is_present(prediction.concept_activations)

    def of_shown(values_NxD: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values_NxD, shown_NxS, axis=1)

    said_NxS, known_NxS = of_shown(said_NxD), ~np.isnan(of_shown(present_NxD))
    counts_NxS = (of_shown(contributions_NxD) > 0) & known_NxS
    true_NxS = said_NxS == (of_shown(present_NxD) > 0.5)
    right_Nx1 = (prediction.label_ids == labels_N)[:, None]

    def share(which_NxS: np.ndarray) -> float:
        return float(true_NxS[which_NxS].mean()) if which_NxS.any() else float("nan")

    parts = {f"{k}": counts_NxS & (np.arange(most) < k) for k in SHOWN}
    for name, which in zip(PARTS, (said_NxS, ~said_NxS, right_Nx1, ~right_Nx1), strict=True):
        parts[f"{name}_{max(SHOWN)}"] = counts_NxS & which
    return {f"explanation_truth_{name}": share(which_NxS) for name, which_NxS in parts.items()}


def clarity(
    prediction: Prediction, head_KxD: np.ndarray, labels_N: np.ndarray, present_NxD: np.ndarray
) -> dict[str, float]:
    """Accuracy, sparsity and precision of what is said to be there, and one figure of the three.

    Said of an image are the concepts that count as there (`Calibration.is_present`) and that the
    predicted class weighs: all a reader of the whole explanation is told to see. Precision is the
    share of those of known truth, over all images, that annotations confirm; sparsity is 1 less the
    share of the D concepts that are said of an image, on average. Clarity is the harmonic mean of
    top-1 accuracy, sparsity and precision, so that a method that fails at one of them has little.

    The name and the three ingredients are those of Panousis and Marcos 2026 (arXiv 2601.21944). Of
    that paper we could read the abstract and not the equations: this formula is ours, and its
    values are not to be put beside theirs.

    Args:
        prediction: of N images, with a calibration.
        head_KxD: F.
        labels_N: int [N].
        present_NxD: annotations: 1 present, 0 absent, NaN unknown.

    Returns:
        `clarity`, `concept_sparsity` and `concept_precision`, 0 to 1; where nothing of known truth
        is said, precision and clarity are NaN.

    >>> from jaxcbm.model.calibration import fit_calibration
    >>> rows, present = np.array([[3.0, -2.0], [-1.0, 2.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    >>> record = fit_calibration(rows, np.arange(2), rows, rows, np.arange(2))
    >>> prediction = Prediction.of(rows, ("a", "b"), rows, calibration=record)
    >>> found = clarity(prediction, np.eye(2), np.array([0, 1]), present)
    >>> found["concept_sparsity"], found["concept_precision"], round(found["clarity"], 3)
    (0.5, 0.5, 0.6)
    """
    assert prediction.calibration is not None
    said_NxD = prediction.calibration.is_present(prediction.concept_activations)
    said_NxD &= head_KxD[prediction.label_ids] != 0
    counts_NxD = said_NxD & ~np.isnan(present_NxD)
    right = float(np.mean(prediction.label_ids == labels_N))
    sparsity = float(1.0 - said_NxD.mean())
    precision = float((present_NxD[counts_NxD] > 0.5).mean()) if counts_NxD.any() else float("nan")
    parts = np.array([right, sparsity, precision])
    mean = 0.0 if (parts == 0).any() else float(len(parts) / np.sum(1.0 / parts))
    return {"clarity": mean, "concept_sparsity": sparsity, "concept_precision": precision}
