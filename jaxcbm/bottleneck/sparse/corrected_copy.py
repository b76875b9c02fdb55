"""A copy of the train activations in which some say what the annotations do, for heads to learn on.

A head that is also solved on such a copy goes by what a concept means, and corrections by hand help
it. Whoever has annotations may have the copy: our own models and baselines alike.
"""

import numpy as np


def with_corrected_copy(
    activations_NxD: np.ndarray,
    labels_N: np.ndarray,
    present_NxD: np.ndarray | None,
    *,
    share: float,
    copy_weight: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The images, and after them their corrected copies.

    Args:
        activations_NxD: of the train images.
        labels_N: int.
        present_NxD: annotations in the order of the concepts, 1, 0 or NaN for unknown; None where
            the data has none: there is no copy then.
        share: of the copy's activations that are set right; 0 leaves the copy out.
        copy_weight: of an image's copy, where the image itself has weight 1.

    Returns:
        (activations, labels, weights), float32 [2N, D], [2N] and float32 [2N]; without a copy the
        first two as they came, and None.

    >>> rows, present = np.array([[2.0], [4.0], [-1.0]]), np.array([[1.0], [1.0], [0.0]])
    >>> both, labels, weights = with_corrected_copy(
    ...     rows, np.array([0, 0, 1]), present, share=1.0, copy_weight=0.5)
    >>> both.ravel().tolist(), weights.tolist()
    ([2.0, 4.0, -1.0, 3.0, 3.0, -1.0], [1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
    """
    if present_NxD is None or share <= 0:
        return activations_NxD, labels_N, None
    corrected_NxD = correct_some(activations_NxD, present_NxD, share)
    weights = np.repeat(np.array([1.0, copy_weight], np.float32), len(labels_N))
    return np.concatenate([activations_NxD, corrected_NxD]), np.tile(labels_N, 2), weights


def correct_some(
    activations_NxD: np.ndarray, present_NxD: np.ndarray, share: float, seed: int = 0
) -> np.ndarray:
    """Set a random share of the activations to what they are on average where the truth is so.

    The truth is 1 where a concept is in the image and 0 where it is not; where it is NaN, unknown,
    an activation stays as it is.

    Reference: Koh et al. 2020 (arXiv 2007.04612) for interventions; training on them: Espinosa
    Zarlenga et al. 2022 (arXiv 2209.09056), there called RandInt.

    >>> activations, present = np.array([[2.0], [4.0], [-1.0]]), np.array([[1.0], [1.0], [0.0]])
    >>> correct_some(activations, present, share=1.0).ravel().tolist()
    [3.0, 3.0, -1.0]
    """
    absent_D, present_D = typical_activations(activations_NxD, present_NxD)
    right_NxD = np.where(np.nan_to_num(present_NxD) > 0.5, present_D, absent_D)
    chosen_NxD = np.random.default_rng(seed).random(activations_NxD.shape) < share
    set_NxD = chosen_NxD & ~np.isnan(present_NxD) & ~np.isnan(right_NxD)
    return np.where(set_NxD, right_NxD, activations_NxD).astype(np.float32)


def typical_activations(
    activations_NxD: np.ndarray, present_NxD: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean activations of images without and with each concept, float64 [D] each.

    NaN for a concept that all or none of the known images have.

    >>> absent, present = typical_activations(np.array([[2.0], [4.0]]), np.array([[0.0], [1.0]]))
    >>> absent.tolist(), present.tolist()
    ([2.0], [4.0])
    """
    activations_NxD = np.asarray(activations_NxD, np.float64)
    known_NxD = ~np.isnan(present_NxD)
    with_NxD = known_NxD & (np.nan_to_num(present_NxD) > 0.5)
    without_NxD = known_NxD & ~with_NxD
    both_D = with_NxD.any(axis=0) & without_NxD.any(axis=0)
    absent_D, present_D = (
        np.where(both_D, _mean(activations_NxD, which_NxD), np.nan)
        for which_NxD in (without_NxD, with_NxD)
    )
    return absent_D, present_D


def _mean(activations_NxD: np.ndarray, which_NxD: np.ndarray) -> np.ndarray:
    return (activations_NxD * which_NxD).sum(axis=0) / np.maximum(which_NxD.sum(axis=0), 1)
