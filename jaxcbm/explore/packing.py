"""Arrays inside JSON: base64 of their bytes, with type and shape."""

import base64
from typing import Any, NamedTuple

import numpy as np

# Steps between the least and the greatest value of a column.
_STEPS = 2**16 - 1


def packed(values: np.ndarray, dtype: str) -> dict[str, Any]:
    """An array as JSON: little-endian bytes in base64, in rows.

    Args:
        values: of any shape.
        dtype: `uint8`, `uint16`, `int32`, `float32` or `float64`.

    >>> packed(np.array([[1, 2]]), "uint8")
    {'dtype': 'uint8', 'shape': [1, 2], 'data': 'AQI='}
    """
    array = np.asarray(values, np.dtype(dtype).newbyteorder("<"))
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": dtype, "shape": list(array.shape), "data": data}


class Quantised(NamedTuple):
    """Columns of numbers in 16 bits each: `low + step * levels`.

    Attributes:
        levels: uint16 [N, D].
        low: least value of each column, float64 [D].
        step: what one level adds, float64 [D]; 0 for a constant column.
    """

    levels: np.ndarray
    low: np.ndarray
    step: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The numbers that are stored, float64 [N, D]."""
        return self.low + self.step * self.levels

    def packed(self) -> dict[str, Any]:
        """As JSON."""
        low, step = packed(self.low, "float64"), packed(self.step, "float64")
        return {"levels": packed(self.levels, "uint16"), "low": low, "step": step}


def quantised(values_NxD: np.ndarray) -> Quantised:
    """Round each column to 65,536 levels between its least and its greatest value.

    >>> quantised(np.array([[0.0, 7.0], [2.0, 7.0]])).values.tolist()
    [[0.0, 7.0], [2.0, 7.0]]
    """
    low_D = values_NxD.min(axis=0, initial=np.inf).astype(np.float64)
    step_D = (values_NxD.max(axis=0, initial=-np.inf) - low_D) / _STEPS
    divisor_D = np.where(step_D > 0, step_D, 1.0)
    return Quantised(np.rint((values_NxD - low_D) / divisor_D).astype(np.uint16), low_D, step_D)
