"""Clients that are slow, broken or hostile are got rid of, and the others do not notice."""

import contextlib
import socket
import threading
import time

import httpx
import pytest
from served import listening, picture_bytes, served

from jaxcbm.serve.page import front_page

PICTURE = picture_bytes(0)
HEAD = (
    b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    b"Content-Length: %d\r\n\r\n"
)
WHOLE = HEAD % len(PICTURE) + PICTURE


@pytest.fixture(scope="module")
def server(model):
    limits = {"header_seconds": 0.4, "seconds": 1.0, "body_bytes": 200_000}
    with served(model, **limits) as service, listening(service) as port:
        yield service, port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def everything(client: socket.socket) -> bytes:
    """What comes until the server closes."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def honest(port: int) -> bool:
    found = httpx.post(
        f"http://127.0.0.1:{port}/v1/predict",
        content=PICTURE,
        headers={"content-type": "image/png"},
    )
    return found.status_code == 200


@pytest.mark.parametrize("before", [b"", WHOLE], ids=["at first", "after an answer"])
@pytest.mark.parametrize("trickle", [b"", b"G", b"POST / HTTP/1.1\r\nX: y\r\n"], ids=len)
def test_a_header_that_does_not_end_is_not_waited_for(server, before, trickle):
    with connect(server[1]) as client:
        client.sendall(before)
        if before:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        client.sendall(trickle or b"P")
        client.settimeout(0.1)
        for letter in [trickle[:1] and b"x"] * 60:
            try:
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                client.sendall(letter)
            except ConnectionResetError:
                break
        assert time.monotonic() - began < 5


def test_many_slow_clients_do_not_keep_an_honest_one_waiting(server):
    service, port = server
    slow = [connect(port) for _ in range(30)]
    for n, client in enumerate(slow):
        client.sendall((HEAD % 5000 + b"x" * 10) if n % 2 else b"POST /v1")
    began = time.monotonic()
    assert all(honest(port) for _ in range(5))
    assert time.monotonic() - began < 5
    answers = [everything(client) for client in slow]
    assert [answer[9:12] for answer in answers[1::2]] == [b"408"] * 15
    for client in slow:
        client.close()
    assert honest(port) and service.batcher.under_way == 0


def test_more_connections_than_there_may_be_are_closed_at_once(model):
    with served(model, connections=5) as service, listening(service) as port:
        many = [connect(port) for _ in range(12)]
        closed, end = 0, time.monotonic() + 5
        while closed < 7 and time.monotonic() < end:
            closed = sum(map(is_closed, many))
        for client in many:
            client.close()
        assert closed == 7
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


HOSTILE = {
    "half a body": HEAD % 5000 + b"x" * 100,
    "nothing": b"",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "HTTP of old": b"GET /\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    "a long path": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "two lengths": HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") % 5 + b"hello",
    "a strange length": HEAD.replace(b"%d", b"-1") + b"hello",
    "smuggled": HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: x, chunked\r\n\r\n") % 5,
    "a bad chunk": HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"zz\r\n",
    "control characters": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n",
    "a wrong host": b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "more than its length": WHOLE + b"junk junk\r\n\r\n",
    "an upgrade": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n",
    "a proxy's request": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "other paths": b"GET //evil.example/%2e%2e/%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}

WITH_ANSWER = ("more than its length", "an upgrade")


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_request_ends_its_own_connection_alone(server, what):
    service, port = server
    with connect(port) as client:
        with contextlib.suppress(OSError):
            client.sendall(HOSTILE[what])
            # Whose end is missing, ends here.
            if what not in WITH_ANSWER:
                client.shutdown(socket.SHUT_WR)
        found = client.recv(65536) if what in WITH_ANSWER else everything(client)
    if what in WITH_ANSWER:
        assert found.startswith(b"HTTP/1.1 200")
    else:
        assert not found or found[9:10] == b"4", found[:200]
    assert honest(port) and service.batcher.under_way == 0


def test_an_answer_is_not_held_back_until_its_head_is_acknowledged(server):
    """Nagle's algorithm, met by a delayed acknowledgement, makes every answer take 40 ms."""
    took = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server[1]}") as client:
        for _ in range(50):
            began = time.monotonic()
            assert client.get("/readyz").status_code == 200
            took.append(time.monotonic() - began)
    # The quickest quarter: a busy machine delays some, the algorithm all.
    assert sorted(took)[12] < 0.03


def test_requests_behind_each_other_are_answered_in_order(server):
    with connect(server[1]) as client:
        client.sendall(WHOLE + b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + WHOLE)
        client.settimeout(3)
        found = b""
        while found.count(b"HTTP/1.1") < 3 or not found.endswith(b"}"):
            found += client.recv(65536)
    statuses = [part[1:4] for part in found.split(b"HTTP/1.1")[1:]]
    assert statuses == [b"200", b"404", b"200"]


def test_who_asks_before_sending_is_told(server):
    with connect(server[1]) as client:
        head = HEAD % len(PICTURE)
        client.sendall(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(PICTURE)
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_clients_that_leave_at_any_moment_leave_nothing_behind(server):
    service, port = server
    for cut in range(0, len(WHOLE) + 1, 97):
        with connect(port) as client:
            client.sendall(WHOLE[:cut])
    with connect(port) as client:
        client.sendall(WHOLE)
    assert honest(port)
    end = time.monotonic() + 5
    while service.batcher.under_way and time.monotonic() < end:
        time.sleep(0.01)
    assert service.batcher.under_way == 0


def test_what_is_taken_before_the_stop_is_answered(model):
    with served(model, seconds=10.0) as service:
        with listening(service, drain=0.3) as port:
            kept = httpx.Client(base_url=f"http://127.0.0.1:{port}")
            assert "connection" not in kept.get("/readyz").headers
            service.stopping = True
            last = kept.get("/readyz")
            assert last.status_code == 503 and last.headers["connection"] == "close"
            # Told apart from before: a new connection is still taken for a while.
            with connect(port) as client:
                client.sendall(WHOLE[:-5])
                time.sleep(0.5)
                client.sendall(WHOLE[-5:])
                assert everything(client).startswith(b"HTTP/1.1 200")
            kept.close()
        with pytest.raises(OSError, match="refused"):
            connect(port)


def test_who_has_connected_when_it_stops_is_answered(model, monkeypatch):
    """The loop is busy elsewhere while clients come and the stop is asked for."""
    entered, left = threading.Event(), threading.Event()

    def busy(_):
        entered.set()
        left.wait(10)
        return front_page(model)

    monkeypatch.setattr("jaxcbm.serve.app.front_page", busy)
    with served(model, seconds=10.0) as service, listening(service) as port:
        with connect(port) as first, connect(port) as late:
            first.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert entered.wait(10)
            service.stopping = True
            others = [connect(port) for _ in range(8)]
            for client in others:
                client.sendall(WHOLE)
            left.set()
            assert everything(first).startswith(b"HTTP/1.1 200")
            # This one has said nothing so far.
            late.sendall(WHOLE)
            assert everything(late).startswith(b"HTTP/1.1 200")
        for client in others:
            assert everything(client).startswith(b"HTTP/1.1 200")
            client.close()
