"""The store gives what the encoder gives, is found by content, and is never stale."""

import io
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder, FakePreprocess, array_images, file_images
from PIL import Image

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import ArrayImages
from jaxcbm.data.skipped import tell_skipped
from jaxcbm.data.store.feature_store import encode
from jaxcbm.data.store.row_file import RowFile
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError


def quiet(done: int, total: int) -> None:
    pass


def store(images: ImageSet, root: Path, encoder: FakeEncoder | None = None, **options):
    options = {"shard_size": 8, "batch_size": 4, "progress": quiet, "decode_threads": 2} | options
    return encode(images, encoder or FakeEncoder(), root, **options)


def expected(images: ImageSet) -> np.ndarray:
    encoder = FakeEncoder()
    pictures = [images.source.load(i).convert("RGB") for i in range(len(images))]
    pixels = np.stack([encoder.preprocess.resize_and_crop(picture) for picture in pictures])
    return encoder.embed_pixels(pixels, batch_size=len(images))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 21])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_rows_are_what_the_encoder_gives(tmp_path, count, batch_size):
    images = array_images(count)
    features = store(images, tmp_path, batch_size=batch_size)
    np.testing.assert_allclose(features.as_array(), expected(images), atol=1e-6)
    np.testing.assert_array_equal(features.labels, images.labels)
    assert [row.tobytes() for row in features.digests] == [
        images.source.digest(i) for i in range(count)
    ]
    assert features.classes == images.classes and features.skipped == ()


def test_opening_again_encodes_nothing_and_reads_the_same(tmp_path):
    images = array_images(21)
    first = store(images, tmp_path)
    encoder = FakeEncoder()
    again = store(images, tmp_path, encoder)
    assert encoder.batches == []
    np.testing.assert_array_equal(first.as_array(), again.as_array())


def test_rows_stay_on_disk_and_no_file_stays_open(tmp_path):
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    rows = store(array_images(21), tmp_path, shard_size=2).embeddings
    assert all(isinstance(shard, RowFile) for shard in rows.shards)
    np.testing.assert_array_equal(rows[[20, 3]], np.asarray(rows)[[20, 3]])
    if opened is not None:
        assert len(os.listdir("/proc/self/fd")) < opened + 5  # 11 shards


@pytest.mark.parametrize(
    ("dtype", "step"), [("float32", 0), ("bfloat16", 2**-8), ("float16", 2**-11)]
)
def test_number_types(tmp_path, dtype, step):
    images = array_images(9)
    features = store(images, tmp_path, dtype=dtype)
    assert features.embeddings.dtype.name == dtype and features.as_array().dtype == np.float32
    np.testing.assert_allclose(features.as_array(), expected(images), atol=max(step, 1e-6))
    assert store(images, tmp_path, dtype=dtype).embeddings.dtype.name == dtype


def test_grey_pictures_are_encoded_as_rgb(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (3, 6, 6), np.uint8)
    images = ImageSet(ArrayImages(grey), np.zeros(3, np.int32), ("owl",))
    np.testing.assert_allclose(store(images, tmp_path).as_array(), expected(images), atol=1e-6)


def test_another_key_for_whatever_changes_an_embedding(tmp_path):
    images = array_images(9)
    keys = [
        store(images, tmp_path, encoder, dtype=dtype).key
        for encoder, dtype in [
            (FakeEncoder(), "float32"),
            (FakeEncoder(seed=1), "float32"),
            (FakeEncoder(dtype="bfloat16"), "float32"),
            (FakeEncoder(preprocess=FakePreprocess(size=10)), "float32"),
            (FakeEncoder(), "bfloat16"),
        ]
    ]
    keys.append(store(images.select(np.arange(9)[::-1]), tmp_path).key)
    keys.append(store(images.select(np.arange(8)), tmp_path).key)
    pixels = images.source.pixels.copy()
    pixels[4, 0, 0, 0] ^= 1
    keys.append(store(replace(images, source=ArrayImages(pixels)), tmp_path).key)
    assert len(set(keys)) == len(keys) == 8


def test_relabelling_needs_no_encoding_and_leaves_no_old_label(tmp_path):
    images = array_images(9)
    store(images, tmp_path)
    encoder = FakeEncoder(name="the same weights under another name")
    relabelled = replace(images, labels=1 - images.labels, classes=("wren", "owl"))
    features = store(relabelled, tmp_path, encoder)
    assert encoder.batches == []
    np.testing.assert_array_equal(features.labels, 1 - images.labels)
    assert features.classes == ("wren", "owl")


def test_annotations_follow_their_images(tmp_path):
    images = file_images(tmp_path / "pictures", 10)
    annotations = np.arange(20, dtype=np.float32).reshape(10, 2)
    images = replace(images, annotations=annotations, annotation_phrases=("red", "long bill"))
    (tmp_path / "pictures/003.png").write_bytes(b"")
    features = store(images, tmp_path / "store")
    np.testing.assert_array_equal(features.annotations, np.delete(annotations, 3, axis=0))
    assert features.annotation_phrases == ("red", "long bill")


def break_some(folder: Path) -> dict[str, str]:
    """Spoil pictures in the ways that happen; name -> what the reason must say."""
    jpeg = io.BytesIO()
    Image.effect_noise((64, 64), 80).convert("RGB").save(jpeg, "JPEG")
    whole = (folder / "004.png").read_bytes()
    (folder / "001.png").write_bytes(b"")
    (folder / "004.png").write_bytes(whole[: len(whole) // 2])
    (folder / "009.png").write_bytes(b"<html>404 not found</html>")
    (folder / "010.png").write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    (folder / "020.png").unlink()
    return {
        "001.png": "empty file",
        "004.png": "cut short",
        "009.png": "not a picture",
        "010.png": "cut short",
        "020.png": "No such file",
    }


def test_unreadable_pictures_are_skipped_counted_and_listed(tmp_path, caplog):
    folder = tmp_path / "pictures"
    images = file_images(folder, 21)
    good = expected(images)
    reasons = break_some(folder)
    for run in range(2):  # made, then opened
        caplog.clear()
        features = store(images, tmp_path / "store")
        assert [name for name, _ in features.skipped] == list(reasons)
        assert all(reasons[name] in reason and reason for name, reason in features.skipped)
        kept = np.setdiff1d(np.arange(21), [1, 4, 9, 10, 20])
        np.testing.assert_allclose(features.as_array(), good[kept], atol=1e-6)
        np.testing.assert_array_equal(features.labels, images.labels[kept])
        told = [r.getMessage()[:20] for r in caplog.records]
        assert told == (["skipped 5 of 21 imag"] if run == 0 else [])
        (listing,) = (tmp_path / "store").glob("*/skipped.jsonl")
        lines = [json.loads(line) for line in listing.read_text().splitlines()]
        assert [(line["image"], line["reason"]) for line in lines] == list(features.skipped)


def test_a_picture_that_becomes_readable_is_no_longer_skipped(tmp_path):
    images = array_images(9)

    class Flaky(ArrayImages):
        broken = True

        def load(self, index):
            if index == 3 and self.broken:
                raise UserError("the disk did not answer")
            return super().load(index)

    source = Flaky(images.source.pixels)
    images = replace(images, source=source)
    without = store(images, tmp_path)
    assert without.skipped == (("image/3", "the disk did not answer"),)
    Flaky.broken = False
    features = store(images, tmp_path)
    assert features.skipped == () and features.key != without.key
    np.testing.assert_allclose(features.as_array(), expected(images), atol=1e-6)
    assert not (tmp_path / features.key / "skipped.jsonl").exists()


def test_a_shard_without_one_readable_picture(tmp_path):
    images = file_images(tmp_path / "pictures", 6)
    for index in (2, 3):
        (tmp_path / f"pictures/{index:03d}.png").write_bytes(b"x")
    for _ in range(2):
        features = store(images, tmp_path / "store", shard_size=2)
        assert len(features) == 4 and features.as_array().shape == (4, 8)


def test_no_readable_picture_at_all(tmp_path):
    images = file_images(tmp_path / "pictures", 3)
    for path in (tmp_path / "pictures").iterdir():
        path.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError, match=r"none of the 3 images can be read .*empty file"):
            store(images, tmp_path / "store")


def test_a_picture_that_changes_while_it_is_encoded(tmp_path):
    images = file_images(tmp_path / "pictures", 9)
    other = file_images(tmp_path / "other", 9, seed=1).source.paths[8].read_bytes()

    class Slow(FakeEncoder):
        def embed_pixels(self, pixels, batch_size=64):
            images.source.paths[8].write_bytes(other)
            return super().embed_pixels(pixels, batch_size)

    with pytest.raises(UserError, match=r"008\.png changed while"):
        store(images, tmp_path / "store", Slow(), batch_size=1, decode_threads=1)


def test_an_encoder_that_gives_no_numbers(tmp_path):
    class Broken(FakeEncoder):
        def embed_pixels(self, pixels, batch_size=64):
            rows = super().embed_pixels(pixels, batch_size)
            rows[-1] = np.nan
            return rows

    images = file_images(tmp_path / "pictures", 9)
    (tmp_path / "pictures/001.png").write_bytes(b"")  # so that row 3 is the fifth picture
    with pytest.raises(UserError, match=r"non-finite .* for 2 images \(first: 004\.png\)"):
        store(images, tmp_path / "store", Broken())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"dtype": "int8"}, "unknown feature dtype 'int8'"), ({"images": 0}, "no images to encode")],
)
def test_refuses(tmp_path, options, message):
    images = array_images(options.pop("images", 3))
    with pytest.raises(UserError, match=message):
        store(images, tmp_path, **options)


def test_an_unexpected_fault_keeps_its_traceback_and_ends(tmp_path):
    class Faulty(FakeEncoder):
        def embed_pixels(self, pixels, batch_size=64):
            raise ZeroDivisionError

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        store(array_images(40), tmp_path, Faulty())
    assert threading.active_count() == before


def test_progress_is_told_once_a_batch_and_ends_at_the_total(tmp_path):
    told = []
    store(array_images(21), tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 21) and told[-1] == (21, 21)
    assert told == sorted(told) and len(told) == 8
    assert told.count((21, 21)) == 1


def test_plain_progress_without_a_terminal(tmp_path, capsys):
    store(array_images(21), tmp_path, progress=None)
    error = capsys.readouterr().err
    assert error.startswith("encode: 21 images in 0 s (") and error.count("\n") == 1
    store(array_images(21), tmp_path, progress=None)
    assert capsys.readouterr().err == ""


def test_a_real_encoder(tmp_path, tiny_encoder_folder, picture_folder):
    encoder, images = load_encoder(tiny_encoder_folder), ImageSet.from_folder(picture_folder)
    features = encode(images, encoder, tmp_path, shard_size=20, batch_size=8, progress=quiet)
    np.testing.assert_allclose(
        features.as_array(), encoder.embed_images(images.source.paths), atol=1e-6
    )
    half = encode(images, replace(encoder, dtype="bfloat16"), tmp_path, progress=quiet)
    assert half.key != features.key
    cosines = (half.as_array() * features.as_array()).sum(axis=1)
    assert cosines.min() > 0.999 and not np.array_equal(half.as_array(), features.as_array())


def test_a_store_that_may_only_be_read(tmp_path, monkeypatch):
    images = array_images(9)
    store(images, tmp_path)

    def refuse(*arguments, **options):
        raise AssertionError("a complete store was written to")

    for module in ("shards", "feature_store", "image_digests"):
        monkeypatch.setattr(f"jaxcbm.data.store.{module}.write_whole", refuse)
    monkeypatch.setattr(os, "mkdir", refuse)
    assert len(store(images, tmp_path)) == 9


def test_a_warning_names_five_of_the_skipped_and_says_so_once(tmp_path, caplog):
    images = file_images(tmp_path / "pictures", 21)
    broken = break_some(tmp_path / "pictures")
    features = store(images, tmp_path / "store", quiet=True)
    assert not caplog.records
    for _ in range(2):
        tell_skipped((*features.skipped, ("021.png", "empty file")), 22)
        (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("skipped 6 of 22") and all(name in said for name in broken)
    assert "021.png" not in said and said.endswith("; and 1 more)")
