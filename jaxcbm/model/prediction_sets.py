"""Split conformal prediction: sets of classes that hold the right one as often as stated.

Reference: Sadinle, Lei and Wasserman 2019 (arXiv 1609.00451), least ambiguous set-valued
classifiers; Angelopoulos and Bates 2021 (arXiv 2107.07511) for split conformal prediction.
"""

import math

import numpy as np


def set_threshold(
    probabilities_NxK: np.ndarray, labels_N: np.ndarray, coverage: float = 0.95
) -> float:
    """The probability from which on a class belongs into the prediction set.

    The right class of a new image reaches it with a chance of at least `coverage` over draws of
    both, where the new image is like these ones.

    Args:
        probabilities_NxK: of images that the model was not fitted on.
        labels_N: int [N], their classes.
        coverage: share of images whose set shall hold their class, 0 to 1.

    Returns:
        A probability; 0 (all classes) where there are too few images to promise anything.

    >>> set_threshold(np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), np.array([0, 0, 0]), 0.5)
    0.6
    """
    own_N = np.sort(np.asarray(probabilities_NxK)[np.arange(len(labels_N)), labels_N])
    # Rounding must not ask for one image more: 0.95 * 20 is a little above 19.
    rank = math.ceil(coverage * (len(own_N) + 1) - 1e-9)
    return 0.0 if rank > len(own_N) else float(own_N[len(own_N) - rank])


def prediction_sets(probabilities_NxK: np.ndarray, threshold: float) -> np.ndarray:
    """Which classes each image may show: all from the threshold on, and the likeliest; bool [N, K].

    >>> prediction_sets(np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]), 0.3).tolist()
    [[True, False, False], [True, True, True]]
    """
    sets_NxK = probabilities_NxK >= threshold
    sets_NxK[np.arange(len(sets_NxK)), np.argmax(probabilities_NxK, axis=1)] = True
    return sets_NxK
