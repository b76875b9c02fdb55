"""Concept erasure: linear maps that cannot tell the classes apart, changed as little as can be.

A concept logit is linear in what the layer reads. It says nothing linear of the class if and only
if its mean is the same in every class, so that its weights are orthogonal to every class's mean.
"""

import numpy as np

from jaxcbm.errors import UserError

# Of the mean variance, added to each: inputs that hardly move would make the system singular. It
# weighs the change only; that class means agree is exact.
_RIDGE = 1e-6
# Of the largest singular value: the means of K classes lie in K - 1 dimensions.
_NOTHING = 1e-9


def erase_classes(
    weights_IxD: np.ndarray, inputs_NxI: np.ndarray, labels_N: np.ndarray, share: float = 1.0
) -> np.ndarray:
    """Weights whose outputs have the same mean in every class, and are otherwise as they were.

    Of all such weights w' these have the smallest mean squared change of the outputs on the images:

        w' = w - S^-1 U (U^T S^-1 U)^-1 U^T w

    where S is the covariance of the inputs and U spans the deviations of class means from the
    common mean. No linear classifier does better on the outputs than one that reads nothing; what
    classes differ in beyond their means (their spread, say) stays.

    Args:
        weights_IxD: of D outputs, each linear in the inputs.
        inputs_NxI: of N images, any scale and offset.
        labels_N: int [N].
        share: of the change that is made, 0 to 1; class means come closer by as much.

    Returns:
        float64 [I, D].

    Raises:
        UserError: as many classes as inputs, or more: nothing would be left.

    Reference: Belrose et al. 2023 (arXiv 2306.03819), theorem 4.2, for each output by itself.

    >>> inputs = np.array([[1.0, 1.0], [3.0, -1.0], [-1.0, -1.0], [-3.0, 1.0]])
    >>> erase_classes(np.eye(2), inputs, np.array([0, 0, 1, 1])).round(3).tolist()
    [[0.0, 0.0], [-1.0, 1.0]]
    """
    x_NxI = inputs_NxI - np.mean(inputs_NxI, axis=0, dtype=np.float64)
    kinds, places_N = np.unique(labels_N, return_inverse=True)
    if len(kinds) > x_NxI.shape[1]:
        raise UserError(
            f"erasure: {len(kinds)} classes span all {x_NxI.shape[1]} numbers that the layer "
            "reads, and nothing would be left of a concept: set config.sparse_head.erasure=0"
        )
    count, size = x_NxI.shape
    member_NxK = np.eye(len(kinds))[places_N]
    covariance_IxI = x_NxI.T @ x_NxI / count
    covariance_IxI += _RIDGE * np.trace(covariance_IxI) / size * np.eye(size)
    basis_IxR, sizes_R, _ = np.linalg.svd(x_NxI.T @ member_NxK / count, full_matrices=False)
    basis_IxR = basis_IxR[:, sizes_R > _NOTHING * sizes_R.max()]
    spread_IxR = np.linalg.solve(covariance_IxI, basis_IxR)
    told_RxD = np.linalg.solve(basis_IxR.T @ spread_IxR, basis_IxR.T @ weights_IxD)
    return weights_IxD - share * (spread_IxR @ told_RxD)
