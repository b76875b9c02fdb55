"""A feature store in an object store: gs:// by way of fsspec, on a folder that stands for it."""

import pytest
from etils.epath import backend
from fake_encoder import FakeEncoder, array_images

from jaxcbm.data.store.feature_store import encode
from jaxcbm.errors import UserError
from jaxcbm.storage import as_path, cache_folder, is_remote, local_copy


def store(images, encoder, **options):
    return encode(
        images, encoder, "gs://bucket/stores", shard_size=8, progress=lambda *_: None, **options
    )


def test_written_once_and_read_back(bucket):
    images, encoder = array_images(21), FakeEncoder()
    first = store(images, encoder)
    names = sorted(path.name for path in bucket.glob("stores/*/*"))
    assert names[0] == "manifest.json" and len(names) == 1 + 2 * 3
    asked = len(encoder.batches)
    again = store(images, encoder)
    assert len(encoder.batches) == asked
    assert (again.as_array() == first.as_array()).all() and again.key == first.key


def test_it_is_the_store_of_the_same_name_elsewhere(bucket, tmp_path):
    images = array_images(21)
    remote = store(images, FakeEncoder())
    here = encode(images, FakeEncoder(), tmp_path / "here", shard_size=8)
    assert here.key == remote.key and (here.as_array() == remote.as_array()).all()
    objects = {p.name: p.read_bytes() for p in bucket.glob("stores/*/shard-*")}
    assert objects == {p.name: p.read_bytes() for p in (tmp_path / "here").glob("*/shard-*")}


def test_copies_are_made_once_and_may_be_deleted(bucket):
    images, encoder = array_images(21), FakeEncoder()
    first = store(images, encoder).as_array()
    copies = sorted((cache_folder() / "objects").iterdir())
    made = [copy.stat().st_mtime_ns for copy in copies]
    store(images, encoder)
    assert len(copies) == 3 and [copy.stat().st_mtime_ns for copy in copies] == made
    copies[0].unlink()
    copies[1].write_bytes(copies[1].read_bytes()[:-1])
    assert (store(images, encoder).as_array() == first).all()


def test_a_lost_object_is_made_again(bucket):
    images, encoder = array_images(21), FakeEncoder()
    first = store(images, encoder).as_array()
    next(bucket.glob("stores/*/shard-00001.json")).unlink()
    encoder.batches.clear()
    assert (store(images, encoder).as_array() == first).all()
    assert sum(encoder.batches) == 8


def test_without_the_package_that_speaks_to_it(bucket, monkeypatch):
    def missing(*arguments):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(backend._FileSystemSpecBackend, "fs", missing)
    with pytest.raises(UserError, match=r"install gcsfs.*jaxcbm\[gcs\]"):
        store(array_images(3), FakeEncoder())


def test_kinds_of_places(tmp_path):
    assert as_path(tmp_path) == tmp_path and not is_remote(tmp_path)
    assert is_remote(as_path("gs://bucket/x") / "y") and as_path("gs://bucket/x").name == "x"
    assert local_copy(tmp_path / "a", 0, "") == tmp_path / "a"
    with pytest.raises(UserError, match="unknown kind of place"):
        as_path("ftp://host/folder")
