"""What servers answer, read from a real one on loopback that sends the bytes of a file."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from readers import CLASSES, Reader

from jaxcbm.concepts.sources.budget import Budget
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.concepts.sources.chat_client import ChatClient
from jaxcbm.concepts.sources.conceptnet_api import from_conceptnet_api
from jaxcbm.concepts.sources.retries import RetryPolicy, with_retries

_ONCE = RetryPolicy(attempts=1)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()).strip():
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        self.rfile.read(length)
        self.wfile.write(self.server.answer)  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _server(answer: bytes) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.answer = answer  # pyright: ignore[reportAttributeAccessIssue]
        server.handle_error = lambda *_: None  # a client that hangs up
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _answers(value: Any, read: Callable[[str], Any]) -> Reader:
    def write(folder: Path) -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        more = "\r\nRetry-After: 0\r\nConnection: close\r\n\r\n"
        (folder / "answer").write_bytes((head + more).encode() + body)

    def served(folder: Path) -> None:
        with _server((folder / "answer").read_bytes()) as url:
            read(url)

    return Reader(write, {"answer": None}, served)


def _chat(url: str) -> None:
    request = {"model": "tiny", "messages": [{"role": "user", "content": "?"}], "max_tokens": 9}
    client = ChatClient(f"{url}/v1", "JAXCBM_NO_KEY", 1.0, Budget())
    with_retries(lambda: client.ask(request), _ONCE, url)


class _NoCache(AnswerCache):
    """Keeps nothing, so that the next answer is read as well."""

    def __init__(self) -> None:
        super().__init__("")

    def find(self, request: Any) -> None:
        return None

    def keep(self, request: Any, answer: Any) -> None:
        json.dumps(answer)


def _conceptnet(url: str) -> None:
    from_conceptnet_api(
        CLASSES[:1],
        _NoCache(),
        base_url=url,
        requests_per_second=1e6,
        timeout=1.0,
        retry_policy=_ONCE,
    )


def _edge(relation: str) -> dict[str, Any]:
    return {
        "@id": "/a/1",
        "start": {"@id": "/c/en/dog"},
        "end": {"@id": "/c/en/four_legs"},
        "rel": {"@id": f"/r/{relation}"},
        "weight": 2.0,
        "license": "cc:by-sa/4.0",
    }


_CHAT = {
    "model": "tiny-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "tail, wing"}}],
    "usage": {"total_tokens": 100},
}
_PAGE = {"edges": [_edge("HasA"), _edge("IsA")], "view": {"nextPage": "/query?offset=2"}}

ANSWERS: dict[str, Reader] = {
    "answers of a chat server": _answers(_CHAT, _chat),
    "answers of ConceptNet's API": _answers(_PAGE, _conceptnet),
}
