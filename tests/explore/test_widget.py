"""The widget without a browser: what it is given, and what comes back."""

import base64
import dataclasses
import sys

import numpy as np
import pytest

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.readable import readable
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.explore.page import script
from jaxcbm.explore.payload import payload_of
from jaxcbm.model.model import Model
from jaxcbm.model.random_model import random_model


@pytest.fixture(scope="module")
def model(picture_folder, tiny_encoder_folder):
    names = tuple(sorted(each.name for each in picture_folder.iterdir()))
    return dataclasses.replace(random_model(load_encoder(tiny_encoder_folder)), classes=names)


def labels(widget) -> list[int]:
    packed = widget.payload["labels"]
    return np.frombuffer(base64.b64decode(packed["data"]), packed["dtype"]).tolist()


def test_it_shows_pictures_with_their_names_and_the_classes_of_their_folders(model, picture_folder):
    files = sorted(picture_folder.rglob("*.*"))[:3]
    widget = model.explore(files)
    triples = [(str(file), file, model.classes.index(file.parent.name)) for file in files]
    assert widget.payload == payload_of(model, triples)
    assert widget._esm == script() and ".explorer" in widget.stylesheet
    images = ImageSet.from_folder(picture_folder).select([0, 1])
    of_set = model.explore(images)
    assert labels(of_set) == [model.classes.index(images.classes[k]) for k in images.labels]
    arrays = model.explore(np.zeros((2, 8, 8, 3), np.uint8))
    assert arrays.payload["names"] == ["picture 1", "picture 2"] and labels(arrays) == [-1, -1]


def test_what_a_browser_sets_is_a_prediction_with_corrections(model, picture_folder, monkeypatch):
    files = [str(file) for file in sorted(picture_folder.rglob("*.*"))[:2]]
    widget = model.explore(files)
    heard = []
    widget.observe(lambda change: heard.append(change.new), "corrections")
    known = {files[1]: {"concept 3": 2.5}}
    # As a message of the browser does.
    widget.set_state({"corrections": known, "carry": {files[1]: True}})
    assert heard == [known] and widget.corrections == known
    with monkeypatch.context() as spied:
        spied.setattr(Model, "intervene", lambda _, *args, carry: (*args, carry))
        assert widget.corrected(files[1]) == (files[1], known[files[1]], True)
    widget.set_state({"carry": {files[1]: False}})
    wanted = model.intervene(files[1], known[files[1]])
    np.testing.assert_allclose(widget.corrected(files[1]).class_logits, wanted.class_logits)
    untouched = widget.corrected(files[0])
    np.testing.assert_allclose(untouched.class_logits, model.predict(files[0]).class_logits)
    with pytest.raises(UserError, match="no picture named 'x'"):
        widget.corrected("x")


def test_without_the_extra_it_says_what_to_install(model, monkeypatch):
    monkeypatch.delitem(sys.modules, "jaxcbm.explore.widget", raising=False)
    for name in ("anywidget", "traitlets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"Model.explore needs anywidget: pip install 'jaxcbm\[wi"):
        model.explore([np.zeros((8, 8, 3), np.uint8)])


def test_a_picture_that_cannot_be_read_is_refused_with_a_way_out(model, picture_folder, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = [next(picture_folder.rglob("*.png")), broken]
    for given in (files, ImageSet.from_arrays(files, [0, 1], ["a", "b"])):
        with pytest.raises(UserError, match=r"broken\.png.*jaxcbm\.readable leaves such"):
            model.explore(given)
        assert len(labels(model.explore(readable(given)))) == 1
