"""Rows in several files behave as one array, and what is known of an image stays with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.data.features import Features
from jaxcbm.data.store.sharded_rows import ShardedRows
from jaxcbm.errors import UserError


def sharded(sizes: list[int]) -> tuple[ShardedRows, np.ndarray]:
    whole = np.arange(sum(sizes) * 3, dtype=np.float32).reshape(-1, 3)
    return ShardedRows(tuple(np.split(whole, np.cumsum(sizes)[:-1]))), whole


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_rows_are_one_array(sizes, data):
    rows, whole = sharded(sizes)
    assert rows.shape == whole.shape and len(rows) == len(whole) and rows.dtype == whole.dtype
    for _ in range(2):  # as they lie, then rearranged
        np.testing.assert_array_equal(np.asarray(rows), whole)
        np.testing.assert_array_equal(rows[1:-1], whole[1:-1])
        np.testing.assert_array_equal(rows[::-2], whole[::-2])
        if not len(whole):
            return
        position = data.draw(st.integers(-len(whole), len(whole) - 1))
        np.testing.assert_array_equal(rows[position], whole[position])
        chosen = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8))
        np.testing.assert_array_equal(rows[np.array(chosen, int)], whole[np.array(chosen, int)])
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
        np.testing.assert_array_equal(rows[mask], whole[mask])
        rows, whole = rows.take(chosen), whole[np.array(chosen, int)]


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1, max_size=3))
def test_joined_rows(parts):
    made = [sharded(sizes) for sizes in parts]
    made[0] = (made[0][0].take(range(len(made[0][0]))[::-1]), made[0][1][::-1])
    joined = ShardedRows.join([rows for rows, _ in made] + [np.ones((1, 3), np.float32)])
    whole = np.concatenate([whole for _, whole in made] + [np.ones((1, 3), np.float32)])
    np.testing.assert_array_equal(np.asarray(joined), whole)


def test_rows_refuse():
    rows, _ = sharded([2, 2])
    with pytest.raises(IndexError):
        rows[4]
    with pytest.raises(IndexError):
        rows.take([0, 4])
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(rows, copy=False)
    with pytest.raises(ValueError, match="one width and dtype"):
        ShardedRows((np.zeros((1, 2)), np.zeros((1, 3))))


def some(count: int = 6, **known) -> Features:
    rows = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Features.from_arrays(rows, np.arange(count) % 3, ["a", "b", "c"], **known)


@pytest.mark.parametrize("stored", [False, True])
def test_selection_keeps_an_image_together(stored):
    annotations = np.arange(12, dtype=np.float32).reshape(6, 2)
    features = some(annotations=annotations, annotation_phrases=["red", "blue"])
    whole = features.as_array()
    if stored:
        features = Features.concatenate([features.select([0, 1, 2]), features.select([3, 4, 5])])
        assert isinstance(features.embeddings, ShardedRows)
    chosen = features.select([5, 0, 5])
    np.testing.assert_array_equal(chosen.as_array(), whole[[5, 0, 5]])
    np.testing.assert_array_equal(chosen.annotations, annotations[[5, 0, 5]])
    np.testing.assert_array_equal(chosen.digests, features.digests[[5, 0, 5]])
    assert chosen.labels.tolist() == [2, 0, 2] and chosen.classes == ("a", "b", "c")
    assert chosen.key != features.key


def test_keys_tell_embeddings_apart_and_ignore_labels():
    features = some()
    rows = features.as_array()
    assert Features.from_arrays(rows, [0] * 6, ["x"]).key == features.key
    assert Features.from_arrays(rows[::-1], features.labels, list("abc")).key != features.key
    assert (
        Features.from_arrays(rows.astype(np.float16), features.labels, list("abc")).key
        != features.key
    )


def test_equal_rows_count_as_equal_images():
    rows = np.eye(2, dtype=np.float32)[[0, 1, 0]]
    digests = Features.from_arrays(rows, [0, 0, 0], ["a"]).digests
    assert (digests[0] == digests[2]).all() and (digests[0] != digests[1]).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.zeros(3)}, "must be"),
        ({"annotations": np.zeros((3, 2))}, "annotations must be"),
        ({"digests": np.zeros((3, 31), np.uint8)}, "digests must be"),
    ],
)
def test_refuses_arrays_that_do_not_fit(change, message):
    given = {"embeddings": np.eye(3), "labels": [0, 1, 0], "classes": ["a", "b"]}
    with pytest.raises(ValueError, match=message):
        Features.from_arrays(**(given | change))
    with pytest.raises(IndexError):
        some().select([6])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1, 3]}, r"labels\[2\] is 3: .* 0 to 1"),
        ({"labels": [0, 1]}, "2 labels for 3 images"),
        ({"classes": "ab"}, "classes='ab' is one text"),
        ({"embeddings": np.array([[1, 0], [0, np.nan], [1, 1]])}, r"embeddings\[1\] holds NaN"),
    ],
)
def test_says_which_row_is_wrong(change, message):
    given = {"embeddings": np.eye(3), "labels": [0, 1, 0], "classes": ["a", "b"]}
    with pytest.raises(UserError, match=message):
        Features.from_arrays(**(given | change))


def test_parts_of_different_datasets_do_not_join():
    one, other = some(), Features.from_arrays(np.eye(4), [0] * 4, ["z"])
    with pytest.raises(ValueError, match="differ in classes"):
        Features.concatenate([one, other])
    bare = Features.from_arrays(np.eye(4), [0] * 4, list("abc"))
    with pytest.raises(ValueError, match="one width and dtype"):
        Features.concatenate([one, bare])
