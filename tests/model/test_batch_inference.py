"""Pictures through a model in batches: the same whatever the batch, the devices, the neighbours."""

import functools
import logging
import threading
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model import batch_inference as module
from jaxcbm.model.batch_inference import (
    PictureBatch,
    batch_inference,
    choose_batch_size,
    read_batches,
)
from jaxcbm.model.prediction import joined
from jaxcbm.model.random_model import random_model

COUNT = 37  # divides by no batch and no number of devices


@pytest.fixture(scope="module")
def model(tiny_encoder_folder):
    return random_model(load_encoder(tiny_encoder_folder))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (20, 16 + i, 3), np.uint8) for i in range(COUNT)]


@pytest.fixture(scope="module")
def alone(model, pictures):
    """One picture after the other, each as if there were no others."""
    return joined(model.predict(picture) for picture in pictures)


def predicted(model, pictures, size):
    """Names, and what is said of them, through the whole pipeline."""
    batches = read_batches(enumerate(pictures), model.loaded_encoder.preprocess, size, threads=2)
    found = list(batch_inference(model, batches, size))
    return [name for batch, _ in found for name in batch.names], joined(x for _, x in found)


def same(one, other):
    assert one.labels == other.labels
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [5, 64])
@pytest.mark.parametrize("devices", [1, 8])
def test_neither_batch_size_nor_devices_show(model, pictures, alone, size, devices):
    placed = model if devices == 1 else model.on(make_mesh())
    names, found = predicted(placed, pictures, size)
    assert names == list(range(COUNT)) and len(set(found.labels)) > 1
    same(found, alone)
    assert placed.loaded_encoder.mesh is None or placed.loaded_encoder.mesh.shape["data"] == 8


def test_features_are_read_on_the_mesh_too(model, alone):
    spread = model.on(make_mesh())
    same(spread.predict_embeddings(alone.image_embeddings, batch_size=7), alone)


def test_all_batches_have_one_shape_and_the_next_is_begun_before_the_last_is_handed_on(model):
    shapes, read = [], []

    class Watched(type(model)):
        def apply(self, weights, pixels):
            shapes.append(pixels.shape)
            return super().apply(weights, pixels)

    def batches():
        for count in (5, 5, 2):
            read.append(count)
            yield PictureBatch(tuple(range(count)), np.zeros((count, 16, 16, 3), np.uint8))

    watched = Watched(**{name: getattr(model, name) for name in model.__dataclass_fields__})
    counts = []
    for batch, found in batch_inference(watched, batches(), 5):
        counts.append((len(batch.names), len(found.labels), len(read)))
    assert shapes == [(5, 16, 16, 3)] * 3
    assert counts == [(5, 5, 2), (5, 5, 3), (2, 2, 3)]


@given(readable=st.lists(st.booleans(), max_size=23), size=st.integers(1, 9))
def test_pictures_that_cannot_be_read_are_told_in_their_place(readable, size, tiny_preprocess):
    def refuse():
        raise UnreadableImage("cut off")

    noise = Image.fromarray(np.zeros((9, 9, 3), np.uint8))
    items = [(i, noise if ok else refuse) for i, ok in enumerate(readable)]
    batches = list(read_batches(iter(items), tiny_preprocess, size, threads=3))
    assert [name for b in batches for name in b.names] == [i for i, ok in enumerate(readable) if ok]
    skipped = [each for b in batches for each in b.skipped]
    assert skipped == [(i, "cut off") for i, ok in enumerate(readable) if not ok]
    for number, batch in enumerate(batches):
        assert batch.pixels.shape == (len(batch.names), 16, 16, 3)
        assert len(batch.names) == size or number == len(batches) - 1
        before = max((name for each in batches[:number] for name in each.names), default=-1)
        assert all(before < name for name, _ in batch.skipped)


@pytest.fixture(scope="module")
def tiny_preprocess(model):
    return model.loaded_encoder.preprocess


def test_a_batch_of_nothing_but_unreadable_pictures_gives_an_empty_prediction(model):
    ((batch, found),) = batch_inference(
        model, read_batches([("a", b"no picture")], model.loaded_encoder.preprocess, 4), 4
    )
    assert batch.names == () and batch.skipped[0][0] == "a"
    assert found.class_logits.shape == (0, 3) and found.labels == ()


def test_predict_names_what_it_cannot_read_and_takes_nothing(model, pictures):
    with pytest.raises(UserError, match="10 bytes: not a picture"):
        model.predict([pictures[0], b"no picture"])
    none = model.predict([])
    assert none.class_logits.shape == (0, 3) and none.concept_scores.shape == (0, 8)


def test_bfloat16_is_the_encoder_and_rounds(model, pictures, alone):
    narrow = model.on(dtype="bfloat16")
    assert narrow.loaded_encoder.dtype == "bfloat16"
    assert narrow.weights["encoder.vision.patch.kernel"].dtype == "bfloat16"
    assert narrow.weights["bottleneck.head.kernel"].dtype == np.float32
    found = narrow.predict(pictures)
    off = np.abs(found.image_embeddings - alone.image_embeddings).max()
    assert 1e-5 < off < 0.03
    assert model.on() is not model and model.on().loaded_encoder is model.loaded_encoder


def test_the_size_is_measured_where_there_are_many(model, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    taken = {16: 1.0, 32: 1.0, 64: 1.95, 128: 1.0}
    monkeypatch.setattr(module, "_seconds", lambda _, size: taken[size])
    assert choose_batch_size(model) == choose_batch_size(model, 10_000) == 32
    assert "batch size 32, by measured pictures a second (16: 16, 32: 32, 64: 32.82)" in caplog.text
    assert [choose_batch_size(model, n) for n in (0, 1, 5, 33, 9_999)] == [1, 1, 8, 32, 32]
    spread = model.on(make_mesh())
    assert [choose_batch_size(spread, n) for n in (1, 9, 17, 9_999)] == [8, 16, 32, 256]


def test_every_size_is_timed_after_it_is_compiled(model, monkeypatch):
    monkeypatch.setattr(module, "_SIZES", (2, 4))
    seen = []
    monkeypatch.setattr(
        module,
        "batch_inference",
        lambda m, batches, size: seen.append(size) or batch_inference(m, batches, size),
    )
    assert choose_batch_size(model) in (2, 4)
    assert seen == [2, 2, 4, 4]


def test_loading_and_decoding_are_done_in_threads_ahead(tiny_preprocess):
    where = set()

    def load(i):
        where.add(threading.current_thread().name)
        return Image.new("RGB", (8, 8), (i, i, i))

    items = ((i, functools.partial(load, i)) for i in range(12))
    first = next(read := read_batches(items, tiny_preprocess, 4, threads=2))
    assert first.names == (0, 1, 2, 3) and threading.main_thread().name not in where
    read.close()


def test_the_mesh_and_the_type_do_not_hash_the_content_again(model):
    content_hash = model.encoder.content_hash
    other = model.encoder.on_mesh(make_mesh()).with_dtype("bfloat16")
    assert vars(other)["content_hash"] == content_hash and other.dtype == "bfloat16"
    assert replace(other).content_hash == content_hash
