"""The IDX reader, on files made here; the real ones only where they are installed."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.sources.fashion_mnist import (
    CLASSES,
    DEFAULT_FOLDER,
    captions_of,
    load_fashion_mnist,
    read_idx,
)
from jaxcbm.errors import UserError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def _write(path: Path, array: np.ndarray, magic: int | None = None) -> None:
    header = struct.pack(">I", 0x0800 + array.ndim if magic is None else magic)
    header += struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def folder(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 28, 28), np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    for prefix in ("train", "t10k"):
        _write(tmp_path / f"{prefix}-images-idx3-ubyte.gz", pixels)
        _write(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def test_images_and_labels_come_back(folder):
    images = load_fashion_mnist("train", folder)
    pixels = np.random.default_rng(0).integers(0, 255, (12, 28, 28), np.uint8)
    np.testing.assert_array_equal(np.asarray(images.source.load(7)), pixels[7])
    assert images.labels.tolist() == [*range(10), 0, 1]
    assert images.classes == CLASSES and images.annotations is None
    assert images.captions[9] == captions_of("ankle boot")
    assert load_fashion_mnist("test", folder).captions is None


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _not_gzip(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


def _cut_gzip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _damaged_gzip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def _cut_inside(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))


def _too_long(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\0"))


def _header_only(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:6]))


def _huge_header(path: Path) -> None:
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x0803, *[2**32 - 1] * 3)))


def _other_kind(path: Path) -> None:
    _write(path, np.zeros((12, 28, 28), np.uint8), magic=0x0D03)


def _packed_zeros(path: Path) -> None:
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(">4I", 0x803, 2**20, 28, 28))
        for _ in range(2**9):
            file.write(bytes(2**20))


@pytest.mark.parametrize(
    "damage",
    [
        _packed_zeros,
        _empty,
        _not_gzip,
        _cut_gzip,
        _damaged_gzip,
        _cut_inside,
        _too_long,
        _header_only,
        _huge_header,
        _other_kind,
    ],
)
def test_a_damaged_file_is_named_in_one_line(folder, damage):
    damage(folder / IMAGES)
    with pytest.raises(UserError, match=IMAGES) as caught:
        load_fashion_mnist("train", folder)
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_package(folder):
    (folder / LABELS).unlink()
    with pytest.raises(UserError, match="install Debian's package dataset-fashion-mnist"):
        load_fashion_mnist("train", folder)


def test_counts_must_agree(folder):
    _write(folder / LABELS, np.zeros(11, np.uint8))
    with pytest.raises(UserError, match="12 images but 11 labels"):
        load_fashion_mnist("train", folder)


def test_labels_must_be_classes(folder):
    _write(folder / LABELS, np.full(12, 10, np.uint8))
    with pytest.raises(UserError, match="label 10"):
        load_fashion_mnist("train", folder)


def test_an_unknown_split(folder):
    with pytest.raises(UserError, match="choose train or test"):
        load_fashion_mnist("valid", folder)


def test_read_idx_of_any_rank(tmp_path):
    for shape in ((5,), (2, 3), (2, 3, 4), (0, 3)):
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        _write(tmp_path / "a.gz", array)
        np.testing.assert_array_equal(read_idx(tmp_path / "a.gz", 0x0800 + len(shape)), array)


def test_captions_read_well():
    for name in CLASSES:
        captions = captions_of(name)
        assert captions[0] == name and len(captions) == len(set(captions)) >= 15
        for caption in captions:
            assert " a a" not in caption and " a trousers" not in caption
            assert caption == " ".join(caption.split())


def test_what_captions_point_at_is_among_the_concepts():
    """The encoder has read some phrases of the built-in set word for word."""
    spoken = {text for name in CLASSES for text in captions_of(name)}
    assert len(spoken & set(ConceptSet.from_file("fashion_mnist").phrases)) >= 20


@pytest.mark.skipif(not Path(DEFAULT_FOLDER).is_dir(), reason="dataset-fashion-mnist not installed")
def test_the_real_test_split():
    images = load_fashion_mnist("test")
    assert len(images) == 10_000 and images.source.load(0).size == (28, 28)
    assert np.bincount(images.labels).tolist() == [1000] * 10
