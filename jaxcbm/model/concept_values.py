"""What a concept's activation looks like where the concept is there and where it is not."""

from typing import NamedTuple

import numpy as np

from jaxcbm.bottleneck.sparse.corrected_copy import typical_activations

# Keeps the belief in a concept finite where one threshold parts all its images without an error.
_RIDGE = 1e-3


class ConceptValues(NamedTuple):
    """How activations and the presence of concepts go together on train images.

    Attributes:
        absent: the activation to set where a concept is absent, float64 [D]; NaN if unknown.
        present: the same where it is present.
        slope, offset: belief that concept d is present is sigmoid(slope[d] a[d] + offset[d]),
            float64 [D]; NaN if unknown.
    """

    absent: np.ndarray
    present: np.ndarray
    slope: np.ndarray
    offset: np.ndarray


def concept_values(activations_NxD: np.ndarray, present_NxD: np.ndarray) -> ConceptValues:
    """Learn from activations and presence (NaN is unknown) in train images what activations mean.

    The values are mean activations of images with and without each concept; NaN for a concept that
    all or none of the known images have.

    Reference: Platt 1999 for the beliefs.

    >>> activations, present = np.array([[2.0], [4.0], [-1.0]]), np.array([[1.0], [1.0], [0.0]])
    >>> values = concept_values(activations, present)
    >>> values.absent.tolist(), values.present.tolist()
    ([-1.0], [3.0])
    """
    means = typical_activations(activations_NxD, present_NxD)
    return ConceptValues(*means, *presence_curves(activations_NxD, present_NxD))


def presence_curves(
    activations_NxD: np.ndarray, present_NxD: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept, float64 [D], of a logistic regression of presence for every concept.

    All at once by Newton's method. NaN for a concept that all or none of the known images have.

    Reference: Platt 1999, Probabilistic outputs for support vector machines.

    >>> slope, intercept = presence_curves(np.array([[0.0], [1.0], [2.0]]), np.eye(3)[:, [2]])
    >>> bool(slope[0] > 1), bool(-2 < intercept[0] / slope[0] < -1)
    (True, True)
    """
    activations_NxD = np.asarray(activations_NxD, np.float64)
    known_NxD = (~np.isnan(present_NxD)).astype(np.float64)
    with_NxD = np.nan_to_num(present_NxD) > 0.5
    counts_D = np.maximum(known_NxD.sum(axis=0), 1)
    mean_D = (activations_NxD * known_NxD).sum(axis=0) / counts_D
    centred_NxD = (activations_NxD - mean_D) * known_NxD
    scale_D = np.sqrt((centred_NxD**2).sum(axis=0) / counts_D) + 1e-12
    x_NxD = centred_NxD / scale_D
    slope_D, offset_D = np.zeros_like(mean_D), np.zeros_like(mean_D)
    for _ in range(25):
        p_NxD = 0.5 + 0.5 * np.tanh(0.5 * (slope_D * x_NxD + offset_D))
        error_NxD = (p_NxD - with_NxD) * known_NxD
        weight_NxD = p_NxD * (1 - p_NxD) * known_NxD
        gradient_s = (error_NxD * x_NxD).sum(axis=0) / counts_D + _RIDGE * slope_D
        gradient_o = error_NxD.sum(axis=0) / counts_D
        ss = (weight_NxD * x_NxD**2).sum(axis=0) / counts_D + _RIDGE
        so = (weight_NxD * x_NxD).sum(axis=0) / counts_D
        oo = weight_NxD.sum(axis=0) / counts_D + 1e-9
        determinant = np.maximum(ss * oo - so**2, 1e-12)
        # At most one unit a step: far from the solution a full step may overshoot.
        slope_D -= np.clip((oo * gradient_s - so * gradient_o) / determinant, -1.0, 1.0)
        offset_D -= np.clip((ss * gradient_o - so * gradient_s) / determinant, -1.0, 1.0)
    both_D = (with_NxD.sum(axis=0) > 0) & (with_NxD.sum(axis=0) < known_NxD.sum(axis=0))
    intercept_D = offset_D - slope_D * mean_D / scale_D
    return np.where(both_D, slope_D / scale_D, np.nan), np.where(both_D, intercept_D, np.nan)


def predicted_presence(values: ConceptValues, activations_NxD: np.ndarray) -> np.ndarray:
    """The belief that each concept is there, float64 [N, D]; 1/2 where nothing was learnt."""
    logits_NxD = values.slope * np.asarray(activations_NxD, np.float64) + values.offset
    return 0.5 + 0.5 * np.tanh(0.5 * np.nan_to_num(logits_NxD, nan=0.0))


def replacements(values: ConceptValues, present_NxD: np.ndarray) -> np.ndarray:
    """Answers (1, 0 or NaN for unknown) as the activations they stand for, float64 [N, D].

    >>> values = ConceptValues(*(np.array([x]) for x in (-1.0, 3.0, 1.0, 0.0)))
    >>> replacements(values, np.array([[1.0], [0.0], [np.nan]])).ravel().tolist()
    [3.0, -1.0, nan]
    """
    answered_NxD = np.where(np.nan_to_num(present_NxD) > 0.5, values.present, values.absent)
    return np.where(np.isnan(present_NxD), np.nan, answered_NxD)


def encoder_answers(
    train_scores_NxD: np.ndarray,
    scores_NxD: np.ndarray,
    train_present_NxD: np.ndarray | None = None,
) -> np.ndarray:
    """Whether the encoder's own scores say that a concept is there: an expert nobody has to pay.

    A concept counts as present in images whose score is above a threshold, which is such that as
    many train images have it as their annotations say (NaN is unknown), or half of them where there
    are none. Zeros and ones, float64 [N, D].

    >>> encoder_answers(np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[1.4], [1.6]])).tolist()
    [[0.0], [1.0]]
    """
    shares_D = np.full(train_scores_NxD.shape[1], 0.5)
    if train_present_NxD is not None:
        known_NxD = ~np.isnan(train_present_NxD)
        positive_D = (np.nan_to_num(train_present_NxD) > 0.5).sum(axis=0)
        counted_D = known_NxD.sum(axis=0)
        np.divide(positive_D, counted_D, out=shares_D, where=counted_D > 0)
    thresholds_D = np.array(
        [
            np.quantile(column, 1.0 - share)
            for column, share in zip(train_scores_NxD.T, shares_D, strict=True)
        ]
    )
    return (scores_NxD > thresholds_D[None, :]).astype(np.float64)
