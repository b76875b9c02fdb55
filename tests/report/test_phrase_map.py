import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.errors import UserError
from jaxcbm.report.label_places import place_labels
from jaxcbm.report.phrase_map import evened, phrase_map, plane


def overlap(a, b):
    return bool(np.all((a[:2] < b[2:]) & (b[:2] < a[2:])))


@given(seed=st.integers(0, 50), count=st.integers(1, 40))
@settings(max_examples=20)
def test_labels_cover_neither_each_other_nor_a_mark(seed, count):
    rng = np.random.default_rng(seed)
    marks = rng.uniform(0, 300, (count, 2))
    sizes = np.stack([rng.uniform(20, 90, count), np.full(count, 10.0)], axis=1)
    corners = place_labels(marks, sizes, marks, (0.0, 0.0, 400.0, 400.0))
    boxes = [
        np.concatenate([c, c + s]) for c, s in zip(corners, sizes, strict=True) if c[0] == c[0]
    ]
    assert boxes
    for place, box in enumerate(boxes):
        assert box.min() >= 0 and box.max() <= 400
        assert not any(overlap(box, other) for other in boxes[place + 1 :])
        assert not any(overlap(box, np.concatenate([m, m])) for m in marks)


def test_a_label_without_room_is_left_out():
    corners = place_labels(
        np.array([[5.0, 5.0]]), np.array([[50.0, 5.0]]), np.zeros((0, 2)), (0, 0, 9, 9)
    )
    assert np.isnan(corners).all()


def test_the_plane_is_that_of_the_largest_variances():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(60, 5))
    # Uncorrelated columns, so that the axes of the data are those of the variances.
    points = np.linalg.qr(drawn - drawn.mean(axis=0))[0] * [9.0, 4.0, 0.1, 0.1, 0.1]
    found, shares = plane(points, points[:3])
    assert found.shape == (63, 2) and shares.sum() > 0.99
    for axis in range(2):
        match = np.corrcoef(found[:60, axis], points[:, axis])[0, 1]
        assert abs(match) == pytest.approx(1.0)
    np.testing.assert_allclose(found[60:], found[:3])


def test_evening_out_keeps_the_order_of_each_axis():
    points = np.random.default_rng(1).normal(size=(30, 2)) ** 3
    even = evened(points)
    np.testing.assert_array_equal(np.argsort(even, axis=0), np.argsort(points, axis=0))
    assert even.min() == 0.0 and even.max() == 1.0


def test_a_map_names_every_phrase_and_class():
    rng = np.random.default_rng(2)
    texts, classes = rng.normal(size=(12, 6)), rng.normal(size=(3, 6))
    phrases = [f"phrase ${n} \u9ce5"[: 10 - n % 2] for n in range(12)]
    file = io.BytesIO()
    with np.errstate(all="raise"):
        named = phrase_map(phrases, texts, ["a", "b", "c"], classes, file, dropped_MxE=texts[:2])
    assert named == 15 and file.getvalue().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="fewer than three"):
        phrase_map(["a"], texts[:1], ["b"], classes[:1], io.BytesIO())
