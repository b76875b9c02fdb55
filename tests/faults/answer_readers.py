"""What servers answer, read from a real one on loopback that sends the bytes of a file."""

import hashlib
import json
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from readers import CLASSES, Reader

from jaxcbm.concepts.sources.budget import Budget
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.concepts.sources.chat_client import ChatClient
from jaxcbm.concepts.sources.conceptnet_api import from_conceptnet_api
from jaxcbm.concepts.sources.retries import RetryPolicy, with_retries
from jaxcbm.errors import UserError
from jaxcbm.hub import HubName
from jaxcbm.model.hub.pretrained import fetch_model
from jaxcbm.sealed_json import read_sealed, sealed, unsealed

_ONCE = RetryPolicy(attempts=1)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        asked, length = self.rfile.readline(), 0
        while (line := self.rfile.readline()).strip():
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        self.rfile.read(length)
        self.wfile.write(self.server.answer(asked))  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _server(answer: Callable[[bytes], bytes]) -> Iterator[str]:
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


def _whole(body: bytes, more: str = "Retry-After: 0") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n{more}\r\nConnection: close\r\n\r\n".encode() + body


def _answers(value: Any, read: Callable[[str], Any]) -> Reader:
    def write(folder: Path) -> None:
        (folder / "answer").write_bytes(_whole(json.dumps(value).encode()))

    def served(folder: Path) -> None:
        content = (folder / "answer").read_bytes()
        with _server(lambda asked: content) as url:
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


_TOKEN, _MODEL = "hf_" + "s3cret" * 5, sealed({"version": 1, "classes": ["amber", "blue"]})


def _write_hub(folder: Path) -> None:
    """What a hub answers when it is asked for a model of one file: of what it has, and that."""
    commit, body = "a" * 40, json.dumps(_MODEL).encode()
    about = {"id": "owner/model", "sha": commit, "siblings": [{"rfilename": "model.json"}]}
    more = f'ETag: "{hashlib.sha256(body).hexdigest()}"\r\nX-Repo-Commit: {commit}'
    (folder / "about").write_bytes(_whole(json.dumps(about).encode()))
    git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
    tree = [{"type": "file", "path": "model.json", "size": len(body), "oid": git}]
    (folder / "tree").write_bytes(_whole(json.dumps(tree).encode()))
    (folder / "head").write_bytes(_whole(body, more).removesuffix(body))
    (folder / "file").write_bytes(_whole(body, more))


def _pull(folder: Path) -> None:
    def answer(asked: bytes) -> bytes:
        kinds = {b"/tree/": "tree", b" /api/": "about", b"HEAD ": "head", b"": "file"}
        return (folder / next(kinds[part] for part in kinds if part in asked)).read_bytes()

    cache = tempfile.mkdtemp(dir=folder)
    with _server(answer) as url, ExitStack() as stack:
        for name, value in {
            "ENDPOINT": url,
            "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
        }.items():
            stack.enter_context(mock.patch(f"huggingface_hub.constants.{name}", value))
        stack.enter_context(mock.patch("time.sleep"))  # between the client's tries
        try:
            found = fetch_model(HubName("owner/model"), _TOKEN, cache)
            pulled = read_sealed(found / "model.json", always=True)
        except (UserError, OSError, ValueError) as error:
            if _TOKEN in f"{error!r}{error.__cause__!r}":
                raise AssertionError("a token in a message") from None
            raise UserError(str(error)) from None  # as the reader of models puts it
    assert pulled == unsealed(_MODEL)


_CHAT = {
    "model": "tiny-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "tail, wing"}}],
    "usage": {"total_tokens": 100},
}
_PAGE = {"edges": [_edge("HasA"), _edge("IsA")], "view": {"nextPage": "/query?offset=2"}}

ANSWERS: dict[str, Reader] = {
    "answers of a chat server": _answers(_CHAT, _chat),
    "answers of ConceptNet's API": _answers(_PAGE, _conceptnet),
    "answers of a hub": Reader(_write_hub, dict.fromkeys(("about", "tree", "head", "file")), _pull),
}
