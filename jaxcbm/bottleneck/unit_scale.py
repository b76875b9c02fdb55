"""Column statistics that solvers are run in; every caller folds them back into its weights."""

import numpy as np


def unit_scale(rows_NxD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse deviation of each column, float32, safe where a column hardly moves.

    `(rows - mean) * inverse` has mean 0 and deviation 1. A column that moves a thousand times less
    than a typical one is centred but not blown up.

    >>> mean, inverse = unit_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), inverse.tolist()
    ([2.0, 5.0], [1.0, 1000.0])
    """
    rows = np.asarray(rows_NxD, np.float32)
    mean_D = rows.mean(axis=0, dtype=np.float64)
    std_D = np.sqrt(np.mean((rows - mean_D.astype(np.float32)) ** 2, axis=0, dtype=np.float64))
    # Gated concepts may be silent on all images: they must not lower what counts as typical.
    moving = std_D[std_D > 0]
    floor = 1e-3 * np.median(moving) if moving.size else 1.0
    return mean_D.astype(np.float32), (1.0 / np.maximum(std_D, floor)).astype(np.float32)
