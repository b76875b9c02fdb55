"""The concepts that decide most about each of many images, all images at once."""

from typing import NamedTuple

import numpy as np

from jaxcbm.model.prediction import Prediction


class Strongest(NamedTuple):
    """What adds most to a logit of each of N images: T concepts each, largest first.

    Attributes:
        columns: which concepts, int64 [N, T].
        values: F[k, d] (a[d] - neutral[d]), float64 [N, T]; 0 where fewer than T add anything, and
            these come last.
        present: whether each counts as there (`Calibration.is_present`), bool [N, T].
        probabilities: how likely each is there, float64 [N, T]; NaN where nothing tells.
        percentiles: share of train images with a lower activation, float64 [N, T]; NaN if unknown.
    """

    columns: np.ndarray
    values: np.ndarray
    present: np.ndarray
    probabilities: np.ndarray
    percentiles: np.ndarray


def strongest(prediction: Prediction, weights_NxD: np.ndarray, k: int) -> Strongest:
    """The k largest parts, in absolute value, of one logit of each image.

    Args:
        prediction: of N images.
        weights_NxD: of the class whose logit is taken apart, for each image, or the difference of
            two classes' weights.
        k: how many; fewer where there are fewer concepts.
    """
    values_NxD = weights_NxD * prediction.evidence
    sizes_NxD = np.nan_to_num(np.abs(values_NxD))
    columns_NxT = _largest(sizes_NxD, min(k, values_NxD.shape[1]))
    activations_NxT = np.take_along_axis(prediction.concept_activations, columns_NxT, axis=1)
    if (calibration := prediction.calibration) is None:
        unknown = np.full(columns_NxT.shape, np.nan)
        told = activations_NxT >= 0, unknown, unknown
    else:
        told = (
            calibration.is_present(activations_NxT, columns_NxT),
            calibration.concept_probabilities(activations_NxT, columns_NxT),
            calibration.percentiles(activations_NxT, columns_NxT),
        )
    return Strongest(columns_NxT, np.take_along_axis(values_NxD, columns_NxT, axis=1), *told)


def _largest(sizes_NxD: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest of each row, int64 [N, k]; of equal ones the first comes first."""
    if 0 < k < sizes_NxD.shape[1]:
        least_Nx1 = -np.partition(-sizes_NxD, k - 1, axis=1)[:, k - 1 : k]
        above_NxD, equal_NxD = sizes_NxD > least_Nx1, sizes_NxD == least_Nx1
        room_Nx1 = k - above_NxD.sum(axis=1, keepdims=True)
        taken_NxD = above_NxD | (equal_NxD & (equal_NxD.cumsum(axis=1) <= room_Nx1))
        some_Nxk = np.nonzero(taken_NxD)[1].reshape(-1, k)
    else:
        some_Nxk = np.broadcast_to(np.arange(k), (len(sizes_NxD), k))
    order_Nxk = np.argsort(-np.take_along_axis(sizes_NxD, some_Nxk, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some_Nxk, order_Nxk, axis=1)
