"""Activations as they are stored in a page."""

import base64

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from jaxcbm.explore.packing import packed, quantised

VALUES = st.floats(-1e4, 1e4, width=32)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2), elements=VALUES))
def test_what_is_stored_is_within_half_a_level_and_keeps_the_ends(values):
    stored = quantised(values)
    assert stored.levels.dtype == np.uint16 and stored.levels.shape == values.shape
    assert (np.abs(stored.values - values) <= 0.5 * stored.step + 1e-9).all()
    np.testing.assert_allclose(stored.values.min(0), values.min(0), atol=1e-9)
    np.testing.assert_allclose(stored.values.max(0), values.max(0), atol=1e-9)


def test_arrays_are_little_endian_bytes_in_rows():
    found = packed(np.array([[1.5, np.nan]]).T[::-1], "float32")
    assert found["shape"] == [2, 1]
    read = np.frombuffer(base64.b64decode(found["data"]), "<f4")
    assert np.isnan(read[0]) and read[1] == 1.5


def test_no_picture_is_no_error():
    assert quantised(np.zeros((0, 3))).levels.shape == (0, 3)
