"""Which rows of a data set are meant: positions, or a mask."""

from collections.abc import Sequence

import numpy as np


def positions_of(chosen: Sequence[int] | Sequence[bool] | np.ndarray, count: int) -> np.ndarray:
    """Positions of chosen rows, int64.

    Args:
        chosen: integers in 0 .. count - 1, in any order and repeated; or a bool for each row. Bools
            are integers to NumPy, and a mask would choose the first two rows again and again.
        count: how many rows there are.

    Raises:
        IndexError: a position outside the rows, a mask of another length, or other numbers.

    >>> positions_of([2, 0], 3).tolist(), positions_of([True, False, True], 3).tolist()
    ([2, 0], [0, 2])
    """
    given = np.asarray(chosen)
    if given.dtype == np.bool_:
        if given.shape != (count,):
            raise IndexError(f"a mask of shape {list(given.shape)} for {count} rows")
        return np.flatnonzero(given)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise IndexError(f"positions of type {given.dtype}: give integers, or a bool for each row")
    if given.size and not 0 <= given.min() <= given.max() < count:
        raise IndexError(f"positions must lie in 0 .. {count - 1}")
    return given.astype(np.int64)
