"""Concept erasure: outputs of a linear layer that say nothing of the class, changed least.

A concept logit is linear in what the layer reads. No linear classifier can tell classes by it if
and only if its mean is the same in every class.
"""

import numpy as np

from jaxcbm.errors import UserError

# Of the mean variance, added to each: inputs that hardly move would make the system singular. It
# weighs the change alone; that covariances vanish is exact.
_RIDGE = 1e-6
# Of the largest singular value: the means of K classes lie in K - 1 dimensions.
_NOTHING = 1e-9


def erase(
    weights_IxD: np.ndarray, inputs_NxI: np.ndarray, targets_NxT: np.ndarray, share: float = 1.0
) -> np.ndarray:
    """Weights whose outputs have no covariance with some targets, and are otherwise as they were.

    Of all such weights w' these have the smallest mean squared change of the outputs on the images:

        w' = w - S^-1 U (U^T S^-1 U)^-1 U^T w

    where S is the covariance of the inputs and U spans their covariances with the targets. No
    linear classifier of the targets does better on the outputs than one that reads nothing; what
    the outputs tell of them in other ways (by their spread, say) stays.

    Args:
        weights_IxD: of D outputs, each linear in the inputs.
        inputs_NxI: of N images, any scale and offset.
        targets_NxT: what the outputs shall not tell.
        share: of the change that is made, 0 to 1; covariances shrink by as much.

    Returns:
        float64 [I, D].

    Reference: Belrose et al. 2023 (arXiv 2306.03819), theorem 4.2, for each output by itself.

    >>> inputs = np.array([[1.0, 1.0], [3.0, -1.0], [-1.0, -1.0], [-3.0, 1.0]])
    >>> erase(np.eye(2), inputs, np.array([[1.0], [1.0], [0.0], [0.0]])).round(3).tolist()
    [[0.0, 0.0], [-1.0, 1.0]]
    """
    x_NxI = inputs_NxI - np.mean(inputs_NxI, axis=0, dtype=np.float64)
    count, size = x_NxI.shape
    covariance_IxI = x_NxI.T @ x_NxI / count
    covariance_IxI += _RIDGE * np.trace(covariance_IxI) / size * np.eye(size)
    basis_IxR, sizes_R, _ = np.linalg.svd(x_NxI.T @ targets_NxT / count, full_matrices=False)
    basis_IxR = basis_IxR[:, sizes_R > _NOTHING * sizes_R.max()]
    spread_IxR = np.linalg.solve(covariance_IxI, basis_IxR)
    told_RxD = np.linalg.solve(basis_IxR.T @ spread_IxR, basis_IxR.T @ weights_IxD)
    return weights_IxD - share * (spread_IxR @ told_RxD)


def erase_classes(
    weights_IxD: np.ndarray, inputs_NxI: np.ndarray, labels_N: np.ndarray, share: float = 1.0
) -> np.ndarray:
    """Weights whose outputs have the same mean in every class; see `erase`.

    Args:
        weights_IxD: of D outputs, each linear in the inputs.
        inputs_NxI: of N images, any scale and offset.
        labels_N: int [N].
        share: by which class means come closer, 0 to 1.

    Returns:
        float64 [I, D].

    Raises:
        UserError: more classes than inputs: nothing would be left.
    """
    kinds, places_N = np.unique(labels_N, return_inverse=True)
    if len(kinds) > inputs_NxI.shape[1]:
        raise UserError(
            f"erasure: {len(kinds)} classes span all {inputs_NxI.shape[1]} numbers that the layer "
            "reads, and nothing would be left of a concept: set config.sparse_head.erasure=0"
        )
    return erase(weights_IxD, inputs_NxI, np.eye(len(kinds))[places_N], share)
