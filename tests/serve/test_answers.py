"""What is asked is answered as the model would."""

import asyncio
import base64
import dataclasses
import time

import numpy as np
import pytest
from served import (
    PICTURE,
    as_json,
    ask,
    before_each_batch,
    counted,
    form,
    picture_bytes,
    post,
    raw,
    served,
)

from jaxcbm.explore.payload import payload_of
from jaxcbm.model.calibration import log_probabilities
from jaxcbm.model.prediction import Prediction
from jaxcbm.serve.answers import Options, PredictedBatch


@pytest.mark.parametrize("max_batch", [1, 4, 16])
def test_answers_are_the_models_whatever_the_form_and_the_batching(model, max_batch, monkeypatch):
    # A batch then costs as much with any number of rows, so that there are large ones.
    before_each_batch(monkeypatch, lambda: time.sleep(0.004))
    rng = np.random.default_rng(max_batch)
    requests, seed = [], 0
    for _ in range(25):
        count = int(rng.integers(1, 5))
        seeds, kind = range(seed, seed + count), int(rng.integers(3))
        requests += [raw(seed)] if kind == 2 else [(form, as_json)[kind](*seeds)]
        seed += 1 if kind == 2 else count
    options = {"concepts": True, "classes": 3, "top": 4}

    async def all_at_once(client):
        sent = (
            client.post("/v1/predict", **{**r, "params": {**r.get("params", {}), **options}})
            for r in requests
        )
        return await asyncio.gather(*sent)

    with served(model, max_batch, per_client=0) as service:
        responses = ask(service, all_at_once)
        numbers = counted(service)
    said = [image for response in responses for image in response.json()["images"]]
    assert [each["name"] for each in said] == [f"{n}.png" for n in range(seed)]
    expected = model.predict([picture_bytes(n) for n in range(seed)])
    for n, each in enumerate(said):
        assert each["label"] == expected.labels[n]
        close = {"rtol": 1e-5, "atol": 1e-5}
        given = [each["probabilities"][name] for name in model.classes]
        np.testing.assert_allclose(given, expected.class_probabilities[n], **close)
        given = [each["concepts"][phrase]["activation"] for phrase in model.concepts.phrases]
        np.testing.assert_allclose(given, expected.concept_activations[n], **close)
        np.testing.assert_allclose(each["familiarity"], expected.familiarity[n], atol=1e-2)
        assert each["set"] and each["set"][0] == each["label"]
        because = model.explain(picture_bytes(n), k=4)
        assert [r["concept"] for r in each["reasons"]] == [c.phrase for c in because.contributions]
        values = [c.value for c in because.contributions]
        np.testing.assert_allclose([r["value"] for r in each["reasons"]], values, **close)
    assert numbers["jaxcbm_pictures_total", "answered"] == seed
    sizes = {key[1] for key in numbers if key[0] == "jaxcbm_batches_total"}
    assert sizes <= set(map(str, service.batcher.sizes))
    filled = sum(v for key, v in numbers.items() if key[0] == "jaxcbm_batch_pictures_total")
    assert filled == seed
    assert max_batch == 1 or sizes - {"1"}, "nothing was batched"


def test_a_picture_that_cannot_be_read_is_named_and_the_others_answered(service):
    files = [("image", ("good.png", PICTURE)), ("image", ("../../bad.png", b"%!PS-Adobe"))]
    found = post(service, files=files)
    assert found.status_code == 200
    good, bad = found.json()["images"]
    assert good["label"] in service.model.classes
    assert bad["name"] == "../../bad.png" and bad["error"].startswith("PostScript is not")
    alone = post(service, files=files[1:])
    assert alone.status_code == 422 and "error" in alone.json()["images"][0]
    numbers = counted(service)
    assert numbers["jaxcbm_pictures_total", "answered"] == 1
    assert numbers["jaxcbm_pictures_total", "unreadable"] == 2


def test_the_explorer_shows_what_is_predicted_and_names_what_cannot_be_read(service):
    files = [("image", ("a.png", PICTURE)), ("image", ("bad.png", b"?")), ("image", ("c", PICTURE))]
    found = post(service, "/v1/explore", files=files)
    body = found.json()
    assert found.status_code == 200 and body["explorer"]["names"] == ["a.png", "c"]
    assert [each["name"] for each in body["unread"]] == ["bad.png"]
    pictures = [(name, PICTURE, -1) for name in ("a.png", "c")]
    wanted = payload_of(service.model, pictures)
    assert body["explorer"]["thumbnails"] == wanted["thumbnails"]
    assert body["explorer"].keys() == wanted.keys()
    (part,), (alike,) = body["explorer"]["models"], wanted["models"]
    assert part.keys() == alike.keys() and part["head"] == alike["head"]
    low, same = (unpacked(each["activations"]["low"]) for each in (part, alike))
    np.testing.assert_allclose(low, same, rtol=1e-5, atol=1e-5)
    none = post(service, "/v1/explore", files=files[1:2])
    assert none.status_code == 422 and none.json()["explorer"] is None


def unpacked(values) -> np.ndarray:
    return np.frombuffer(base64.b64decode(values["data"]), values["dtype"])


def test_corrections_are_those_of_intervene(service):
    model = service.model
    calibration = model.calibration
    assert calibration is not None
    image = {"data": base64.b64encode(PICTURE).decode(), "name": "a.png"}
    absent, present = (float(values[1]) for values in (calibration.absent, calibration.present))
    for body, known in (
        ({"activations": {"an amber glow": 2.5}}, {"an amber glow": 2.5}),
        ({"presence": {"a blue tint": False}}, {"a blue tint": absent}),
        ({"presence": {"a blue tint": True}}, {"a blue tint": present}),
        ({}, {}),
    ):
        found = post(service, "/v1/intervene", json={"image": image, **body}, params={"classes": 3})
        expected = model.intervene(PICTURE, known)
        given = [found.json()["probabilities"][name] for name in model.classes]
        np.testing.assert_allclose(given, expected.class_probabilities[0], rtol=1e-5, atol=1e-6)
    for body, reason in (
        ({"activations": {"no such": 1.0}}, "not in the concept set"),
        ({"presence": {"no such": True}}, "not in the concept set"),
        ({"image": {"data": "aGk="}}, "not a picture"),
    ):
        found = post(service, "/v1/intervene", json={"image": image, **body})
        assert found.status_code == 422 and reason in found.json()["error"]
    assert post(service, "/v1/intervene", **raw(1)).status_code == 415


def test_corrections_carry_if_they_are_asked_to(service):
    image = {"data": base64.b64encode(PICTURE).decode()}
    body = {"image": image, "activations": {"a blue tint": 2.0}, "carry": True}
    found = post(service, "/v1/intervene", json=body, params={"concepts": True})
    expected = service.model.intervene(PICTURE, {"a blue tint": 2.0}, carry=True)
    given = [each["activation"] for each in found.json()["concepts"].values()]
    np.testing.assert_allclose(given, expected.concept_activations[0], rtol=1e-5, atol=1e-6)


def test_probabilities_have_six_decimals_and_the_label_comes_first(model):
    logits_BxK = np.array([[0.0, 400.0, 1.0], [2e-7, 1e-7, 3e-7], [-50.0, 0.0, -5.0]], np.float32)
    none_BxD = np.zeros((3, len(model.concepts)), np.float32)
    bare = dataclasses.replace(model, calibration=None, familiarity=None)
    prediction = Prediction.of(logits_BxK, model.classes, none_BxD, none_BxD, none_BxD)
    batch, exact_BxK = PredictedBatch(bare, prediction), prediction.class_probabilities
    for row, order in enumerate(([1, 2, 0], [2, 0, 1], [1, 2, 0])):
        found = batch.answer("", row, Options(classes=3))
        assert list(found.probabilities) == [model.classes[k] for k in order]
        assert found.label == next(iter(found.probabilities)) == found.set[0]
        said = list(found.probabilities.values())
        assert said == sorted(said, reverse=True) and found.probability == said[0]
        np.testing.assert_allclose(said, exact_BxK[row][order], rtol=0, atol=5.001e-7)
        assert all(x == 0.0 or x >= 1e-6 for x in said)


def test_a_batch_is_told_of_once_however_many_classes_and_pictures(model, monkeypatch):
    calls = []

    def counted_once(logits_NxK, temperature=1.0):
        calls.append(len(logits_NxK))
        return log_probabilities(logits_NxK, temperature)

    prediction = model.predict([picture_bytes(n) for n in range(8)])
    monkeypatch.setattr("jaxcbm.model.prediction.log_probabilities", counted_once)
    batch = PredictedBatch(model, prediction)
    batch.answer("", 0, Options(concepts=True))
    first = len(calls)
    for row in range(8):
        batch.answer("", row, Options(concepts=True))
    assert len(calls) == first <= 3 and set(calls) == {8}
