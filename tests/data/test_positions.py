import numpy as np
import pytest

from jaxcbm import Features, ImageSet

LABELS = [0, 1, 2, 0, 1]


def both():
    pixels = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((5, 8, 8), np.uint8)
    yield ImageSet.from_arrays(pixels, LABELS, ["a", "b", "c"])
    yield Features.from_arrays(np.eye(5, 8, dtype=np.float32), LABELS, ["a", "b", "c"])


def test_a_mask_chooses_its_rows_as_their_positions_do():
    mask = np.array([False, True, False, True, True])
    for rows in both():
        for chosen in (mask, mask.tolist(), np.flatnonzero(mask), [1, 3, 4]):
            assert rows.select(chosen).labels.tolist() == [1, 0, 1]
        assert len(rows.select(~mask)) == 2 and len(rows.select([])) == 0
        assert rows.select([4, 4, 0]).labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    "wrong, said",
    [
        (np.ones(4, bool), "a mask of shape .4. for 5 rows"),
        ([True, False], "a mask of shape"),
        ([0.0, 1.0], "positions of type float64"),
        ([5], "positions must lie in 0 .. 4"),
        ([-1], "positions must lie in 0 .. 4"),
    ],
)
def test_other_choices_are_refused(wrong, said):
    for rows in both():
        with pytest.raises(IndexError, match=said):
            rows.select(wrong)
