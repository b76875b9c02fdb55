"""Image sources and sets: what they promise to everything that reads images."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import (
    ArrayImages,
    FileImages,
    ImageSource,
    SelectedImages,
    UnreadableImage,
)


@pytest.fixture
def files(tmp_path) -> FileImages:
    """A good picture, an empty file, a cut one, a text, and one that is not there."""
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    data = (tmp_path / "good.png").read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.jpg").write_bytes(b"not a picture")
    names = ("good.png", "empty.png", "cut.png", "text.jpg", "gone.png")
    return FileImages(tuple(tmp_path / name for name in names), tmp_path)


def _set(count: int = 5) -> ImageSet:
    pixels = np.random.default_rng(1).integers(0, 255, (count, 6, 6, 3), np.uint8)
    return ImageSet(
        ArrayImages(pixels, prefix="noise"),
        np.arange(count, dtype=np.int32) % 2,
        ("even", "odd"),
        np.eye(count, dtype=np.float32),
        tuple(f"concept {i}" for i in range(count)),
        tuple((f"picture {i}",) for i in range(count)),
    )


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 7, 3)])
def test_arrays_come_back_as_they_are(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    source = ArrayImages(pixels)
    assert isinstance(source, ImageSource) and len(source) == 2
    np.testing.assert_array_equal(np.asarray(source.load(1)), pixels[1])


def test_a_digest_is_of_the_content_and_the_shape():
    one, two = np.zeros((1, 2, 6), np.uint8), np.zeros((2, 3, 4), np.uint8)
    same = ArrayImages(two)
    assert same.digest(0) == same.digest(1) != ArrayImages(one).digest(0)
    assert len(same.digest(0)) == 32
    changed = two.copy()
    changed[1, 0, 0] = 1
    assert ArrayImages(changed).digest(1) != same.digest(1)


@pytest.mark.parametrize("pixels", [np.zeros((2, 5, 7)), np.zeros((2, 5, 7, 4), np.uint8)])
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match="uint8"):
        ArrayImages(pixels)


def test_a_good_file_is_read(files):
    assert files.load(0).size == (32, 32)
    assert files.name(0) == "good.png"
    assert files.digest(0) == hashlib.sha256(files.paths[0].read_bytes()).digest()


@pytest.mark.parametrize(
    ("index", "reason"),
    [(1, "empty file"), (2, "cut short"), (3, "not a picture"), (4, "No such")],
)
def test_a_broken_file_says_why_in_one_line(files, index, reason):
    with pytest.raises(UnreadableImage, match=reason) as caught:
        files.load(index)
    assert "\n" not in str(caught.value)


def test_a_missing_file_has_no_digest(files):
    with pytest.raises(UnreadableImage, match="No such file"):
        files.digest(4)


@given(
    first=st.lists(st.integers(0, 4), max_size=8),
    second=st.lists(st.integers(0, 100), max_size=8),
)
def test_selecting_twice_is_selecting_once(first, second):
    images = _set()
    second = [i % len(first) for i in second] if first else []
    twice, once = images.select(first).select(second), images.select([first[i] for i in second])
    assert isinstance(twice.source, SelectedImages)
    assert not isinstance(twice.source.source, SelectedImages)
    assert [twice.source.name(i) for i in range(len(twice))] == [
        once.source.name(i) for i in range(len(once))
    ]
    for field in ("labels", "annotations"):
        np.testing.assert_array_equal(getattr(twice, field), getattr(once, field))
    assert twice.captions == once.captions


def test_a_selection_keeps_what_belongs_together():
    images = _set().select([3, 0])
    assert images.captions == (("picture 3",), ("picture 0",))
    assert images.source.name(0) == "noise/3"
    np.testing.assert_array_equal(images.annotations, np.eye(5, dtype=np.float32)[[3, 0]])
    np.testing.assert_array_equal(images.labels, [1, 0])
    assert images.source.digest(0) == _set().source.digest(3)


@pytest.mark.parametrize("indices", [[5], [-1]])
def test_positions_outside_are_refused(indices):
    with pytest.raises(IndexError, match=r"0 \.\. 4"):
        _set().select(indices)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros(4, np.int32)},
        {"labels": np.zeros(5, np.int64)},
        {"labels": np.full(5, 2, np.int32)},
        {"annotations": np.zeros((5, 4), np.float32)},
        {"annotations": None},
        {"captions": ()},
    ],
)
def test_parts_that_do_not_fit_are_refused(change):
    images = _set()
    fields = {name: getattr(images, name) for name in images.__dataclass_fields__}
    with pytest.raises(ValueError, match=r"must|without|captions"):
        ImageSet(**{**fields, **change})


def test_sources_travel_to_other_processes(files):
    for source in (files, _set().select([2, 1]).source):
        copy = pickle.loads(pickle.dumps(source))
        assert copy.digest(0) == source.digest(0)
