"""What is too much, too slow or not what it says is refused with the right status."""

import asyncio
import threading

import httpx
import pytest
from served import (
    PICTURE,
    PNG,
    as_json,
    ask,
    before_each_batch,
    form,
    get,
    post,
    raw,
    requests_of,
    served,
)
from test_hostile_pictures import BYTES

from jaxcbm.serve.app import make_app
from jaxcbm.serve.limits import Limits
from jaxcbm.serve.service import make_service


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
