"""What is asked is answered as the model would; what is wrong is refused with the right status."""

import asyncio
import base64
import dataclasses
import json
import logging
import threading
import time

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import ask, before_each_batch, picture_bytes, post, served
from test_hostile_pictures import BYTES

from jaxcbm.explore.page import script
from jaxcbm.explore.payload import payload_of
from jaxcbm.serve.app import make_app
from jaxcbm.serve.limits import Limits
from jaxcbm.serve.service import make_service

PICTURE = picture_bytes(0)
PNG = {"content-type": "image/png"}


@pytest.fixture
def service(model):
    with served(model, body_bytes=100_000, pictures=4, queue=16, per_client=4) as found:
        yield found


def form(*seeds: int) -> dict:
    return {"files": [("image", (f"{seed}.png", picture_bytes(seed))) for seed in seeds]}


def as_json(*seeds: int) -> dict:
    encoded = [(seed, base64.b64encode(picture_bytes(seed)).decode()) for seed in seeds]
    return {"json": {"images": [{"name": f"{seed}.png", "data": data} for seed, data in encoded]}}


def raw(seed: int) -> dict:
    return {"content": picture_bytes(seed), "headers": PNG, "params": {"name": f"{seed}.png"}}


def counted(service) -> dict[tuple, float]:
    """Every sample by its name and the values of its labels, those by their names."""
    families = text_string_to_metric_families(get(service, "/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *(s.labels[name] for name in sorted(s.labels))): s.value for s in samples}


def requests_of(service, method: str, route: str, status: int) -> float:
    return counted(service).get(("jaxcbm_requests_total", method, route, str(status)), 0)


def get(service, path, **request) -> httpx.Response:
    return ask(service, lambda client: client.get(path, **request))


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


async def in_pieces():
    for _ in range(40):
        yield b"x" * 5000


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (413, {"content": b"x" * 100_001, "headers": PNG}),
        (413, {"content": in_pieces(), "headers": PNG}),
        (413, {"content": b"x", "headers": {**PNG, "content-length": "9" * 5000}}),
        (413, form(1, 2, 3, 4, 5)),
        (413, as_json(1, 2, 3, 4, 5)),
        (415, {"content": b"x"}),
        (415, {"content": b"x", "headers": {"content-type": "text/plain"}}),
        (415, {"data": {"image": "x"}}),
        (415, {"content": b"x", "headers": {**PNG, "content-encoding": "gzip"}}),
        (422, {"content": b"", "headers": PNG}),
        (422, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (422, {"content": PICTURE, "headers": PNG, "params": {"top": "x"}}),
        (422, {"content": PICTURE, "headers": PNG, "params": {"top": "-1"}}),
        (422, {"content": PICTURE, "headers": PNG, "params": {"top": "1" * 1000}}),
        (422, {"content": PICTURE, "headers": PNG, "params": {"concepts": "1"}}),
        (422, {"content": PICTURE, "headers": PNG, "params": {"no": "1"}}),
        (403, {"content": PICTURE, "headers": {**PNG, "sec-fetch-site": "cross-site"}}),
        (421, {"content": PICTURE, "headers": {**PNG, "host": "localhost.evil.example"}}),
    ],
    ids=range(18),
)
def test_each_refusal_has_its_status_and_a_line(service, status, request_):
    found = post(service, **request_)
    assert found.status_code == status
    assert set(found.json()) == {"error"} and "\n" not in found.json()["error"]
    assert requests_of(service, "POST", "/v1/predict", status) == 1
    assert post(service, **raw(1)).status_code == 200


@pytest.mark.parametrize("name", BYTES)
def test_hostile_pictures_are_refused_by_name(model, name):
    """Bombs, strips, lies about the size, scans without end, and a program named .png."""
    content, reason = BYTES[name]
    files = [("image", (name, content)), ("image", ("good.png", PICTURE))]
    with served(model, pixels=2**20) as service:
        bad, good = post(service, files=files).json()["images"]
    assert bad["name"] == name and reason in bad["error"] and "\n" not in bad["error"]
    assert good["label"] in model.classes


def test_pixels_have_a_limit(model):
    with served(model, pixels=99) as service:
        found = post(service, **raw(1))
    assert found.status_code == 422 and "at most 99 are read" in found.json()["images"][0]["error"]


def test_of_other_routes_and_methods_there_are_none(service):
    for path in ("/v1/predictions", "/v1/../etc/passwd", "/%2e%2e/etc/passwd", "/static/x", "/v2"):
        found = get(service, path)
        assert found.status_code == 404 and set(found.json()) == {"error"}, path
    assert get(service, "/v1/predict").status_code == 405
    assert ask(service, lambda client: client.delete("/")).status_code == 405
    assert requests_of(service, "GET", "other", 404) == 5
    assert requests_of(service, "other", "/", 405) == 1


@pytest.fixture(params=[1.5])
def held_up(model, monkeypatch, request):
    """A service whose device waits until it is let go; the parameter is its time for a request."""
    opened, limits = threading.Event(), {"pictures": 2, "queue": 3, "per_client": 2}
    opened.set()
    before_each_batch(monkeypatch, lambda: opened.wait(20))
    with served(model, max_batch=1, **limits, seconds=request.param) as service:
        opened.clear()
        yield service, opened
        opened.set()


async def until_under_way(service, count: int) -> None:
    while service.batcher.under_way != count:
        await asyncio.sleep(0.005)


def test_a_full_queue_a_busy_client_and_a_late_answer(held_up):
    service, opened = held_up

    async def crowd(client):
        others = httpx.AsyncClient(
            transport=httpx.ASGITransport(make_app(service), client=("10.0.0.2", 1)),
            base_url="http://localhost",
        )
        waiting = [asyncio.ensure_future(client.post("/v1/predict", **raw(n))) for n in (1, 2)]
        await until_under_way(service, 2)
        busy = await client.post("/v1/predict", **raw(3))
        other = await others.post("/v1/predict", **form(4, 5))
        small = asyncio.ensure_future(others.post("/v1/predict", **raw(6)))
        await until_under_way(service, 3)
        full = await others.post("/v1/predict", **raw(7))
        late = [await each for each in (*waiting, small)]
        return busy, other, full, late

    busy, other, full, late = ask(service, crowd)
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
    assert (other.status_code, other.headers["retry-after"]) == (503, "1")
    assert (full.status_code, full.json()["error"]) == (503, "the queue is full")
    assert [each.status_code for each in late] == [504] * 3
    assert service.batcher.under_way == 0
    opened.set()
    assert post(service, **raw(1)).status_code == 200


@pytest.mark.parametrize("held_up", [0.3], indirect=True)
def test_a_body_that_does_not_come_is_given_up(held_up):
    async def slow():
        yield b"x"
        await asyncio.sleep(5)

    found = post(held_up[0], content=slow(), headers=PNG)
    assert found.status_code == 408


def test_bodies_may_hold_so_much_together(model):
    with served(model, body_bytes=1000, held_bytes=1500, seconds=5.0) as service:
        arrived, enough = asyncio.Event(), asyncio.Event()

        async def slow():
            yield b"x" * 1000
            arrived.set()
            await enough.wait()

        async def two(client):
            first = asyncio.ensure_future(client.post("/v1/predict", content=slow(), headers=PNG))
            await arrived.wait()
            second = await client.post("/v1/predict", content=b"x" * 900, headers=PNG)
            enough.set()
            await first
            third = await client.post("/v1/predict", content=b"x" * 900, headers=PNG)
            return [each.status_code for each in (first.result(), second, third)]

        assert ask(service, two) == [422, 503, 422]


@pytest.mark.parametrize("held_up", [30.0], indirect=True)
def test_a_client_that_leaves_gives_its_places_back(held_up):
    service, opened = held_up
    sent = [{"type": "http.request", "body": PICTURE, "more_body": False}]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
        "client": ("127.0.0.1", 1),
    }
    answers = []

    async def leaves():
        async def receive():
            if sent:
                return sent.pop()
            await until_under_way(service, 1)
            return {"type": "http.disconnect"}

        async def send(message):
            answers.append(message)

        await make_app(service)(scope, receive, send)
        # Not only once the loop ends.
        await asyncio.sleep(0.05)
        return service.batcher.under_way

    assert asyncio.run(leaves()) == 0 and answers[0]["status"] == 499
    opened.set()
    assert requests_of(service, "POST", "/v1/predict", 499) == 1


def test_before_it_is_compiled_and_when_it_stops_nothing_is_taken(model, monkeypatch):
    opened = threading.Event()
    before_each_batch(monkeypatch, lambda: opened.wait(20))
    service = make_service(model, Limits(), 1)
    assert get(service, "/healthz").status_code == 200
    assert get(service, "/readyz").status_code == 503
    early = post(service, **raw(1))
    assert early.status_code == 503 and early.headers["retry-after"] == "5"
    opened.set()
    assert service.batcher.ready.wait(20)
    assert get(service, "/readyz").json() == {"status": "ready"}
    service.stopping = True
    found = post(service, **raw(1))
    assert found.status_code == 200 and found.headers["connection"] == "close"
    assert get(service, "/readyz").json() == {"status": "stopping"}
    service.batcher.stop()
    assert post(service, **raw(1)).status_code == 503


def test_a_fault_is_a_line_for_the_client_and_a_traceback_for_the_log(service, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret\nfake line")

    monkeypatch.setattr("jaxcbm.serve.answers.PredictedBatch.answer", broken)
    found = post(service, **raw(1))
    assert (found.status_code, found.json()) == (500, {"error": "a fault of the server"})
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "RuntimeError: secret\\nfake line" in logged and "\nfake line" not in logged


def test_the_log_is_a_line_a_request_whatever_clients_write(service, caplog):
    caplog.set_level(logging.INFO)
    get(service, "/%0d%0aGET%20/forged%20200/%1b[31m%e2%80%a8" + "x" * 5000)
    post(service, content=PICTURE, headers=PNG, params={"name": "a\nforged"})
    lines = [record.getMessage() for record in caplog.records if "ms" in record.getMessage()]
    assert len(lines) == 2 and all(line.isascii() and line.isprintable() for line in lines)
    assert "forged" not in lines[1] and all(len(line) < 200 for line in lines)


def test_headers_keep_browsers_from_harm(service):
    front, docs, data = (get(service, path) for path in ("/", "/docs", "/readyz"))
    for found in (front, docs, data):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
        assert not [name for name in found.headers if name.startswith("access-control")]
    for page in (front, docs):
        policy = page.headers["content-security-policy"]
        scripts = policy.partition("script-src ")[2].partition(";")[0]
        assert "unsafe" not in scripts and "http" not in policy
        own = page.text.replace(script(), "")
        assert "http://" not in own and "https://" not in own
    assert front.headers["content-security-policy"].count("'sha256-") == 1


def test_only_hosts_that_it_goes_by_and_no_pages_of_others(service):
    def status(host: str) -> int:
        return get(service, "/", headers={"host": host}).status_code

    for host in ("localhost", "LOCALHOST:8000"):
        assert status(host) == 200
    for host in ("evil.example", "localhost.evil.example:8000", "", "localhost:8000:1", "[::1"):
        assert status(host) == 421
    anywhere = ask(service, lambda client: client.get("/", headers={"host": "x"}), hosts=())
    assert anywhere.status_code == 200


def test_names_of_classes_are_text_in_the_page(model):
    named = dataclasses.replace(model, classes=("<script>alert(1)</script>", "b", "c"))
    with served(named) as service:
        text = get(service, "/").text
    assert "<script>alert" not in text and "&lt;script&gt;" in text


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


def test_the_explorer_has_the_limits_of_predictions(model):
    two = [("image", ("a.png", PICTURE)), ("image", ("b.png", PICTURE))]
    with served(model, pictures=1, body_bytes=100_000, pixels=10) as service:
        assert post(service, "/v1/explore", files=two).status_code == 413
        large = post(service, "/v1/explore", content=bytes(100_001), headers=PNG)
        assert large.status_code == 413
        assert post(service, "/v1/explore", **raw(1)).status_code == 422
        option = post(service, "/v1/explore?top=3", content=PICTURE, headers=PNG)
        assert option.status_code == 422 and "top" in option.json()["error"]
        assert post(service, "/v1/explore", content=b"x").status_code == 415
        cross = {**PNG, "sec-fetch-site": "cross-site"}
        refused = post(service, "/v1/explore", content=PICTURE, headers=cross)
        assert refused.status_code == 403


def unpacked(values) -> np.ndarray:
    return np.frombuffer(base64.b64decode(values["data"]), values["dtype"])


def test_the_document_describes_what_is_sent(service):
    described = get(service, "/openapi.json").json()
    paths = {(method, path) for path, each in described["paths"].items() for method in each}
    assert paths == {
        ("post", "/v1/predict"),
        ("post", "/v1/explore"),
        ("post", "/v1/intervene"),
        *(("get", path) for path in ("/v1/model", "/healthz", "/readyz", "/metrics", "/")),
        *(("get", path) for path in ("/openapi.json", "/docs")),
    }
    schemas = described["components"]["schemas"]
    answer = post(
        service,
        **raw(1),
    ).json()["images"][0]
    assert set(answer) == set(schemas["Answer"]["properties"])
    assert set(answer["reasons"][0]) == set(schemas["Reason"]["properties"])
    assert set(get(service, "/v1/model").json()) == set(schemas["ModelFacts"]["properties"])
    references = set(json.dumps(described).split("#/components/schemas/")[1:])
    assert {each.partition('"')[0] for each in references} == set(schemas)
    docs = get(service, "/docs").text
    assert all(path in docs for _, path in paths) and all(name in docs for name in schemas)


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
