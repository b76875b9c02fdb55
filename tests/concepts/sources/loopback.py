"""A real server on loopback that speaks ConceptNet's API and the OpenAI chat API, and stumbles."""

import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a server may do instead of answering.
STUMBLES = ("busy", "error", "slow", "truncated", "malformed", "hang up")


class Loopback(ThreadingHTTPServer):
    """The server; `script` says what goes wrong, one entry a request, until it is used up."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script: list[str] = []
        self.edges: list[dict] = []
        self.page = 2
        self.answers: dict[str, str] = {}
        self.refuses: tuple[str, ...] = ()
        self.requests: list[str] = []
        self.bodies: list[dict] = []
        self.keys: list[str] = []
        self.echoes_key = False
        self.pause = 0.0
        self.usage: dict | None = {"total_tokens": 100}
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        """A client that stops waiting is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Loopback
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._serve(self._conceptnet, {})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._serve(lambda: self._chat(body), body)

    def _serve(self, answer, body):
        server = self.server
        with server.lock:
            server.requests.append(self.path)
            server.bodies.append(body)
            server.keys.append(self.headers.get("Authorization", ""))
            stumble = server.script.pop(0) if server.script else ""
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            if server.pause:
                time.sleep(server.pause)
            self._stumble(stumble, answer)
        finally:
            with server.lock:
                server.under_way -= 1

    def _stumble(self, stumble, answer):
        if stumble == "busy":
            self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"})
        elif stumble == "busy for an hour":
            self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "3600"})
        elif stumble == "busy for a minute":
            self._send(429, {"error": {"message": "slow down"}}, {"Retry-After": "60"})
        elif stumble == "error":
            self._send(500, {"error": {"message": "oh"}})
        elif stumble == "forbidden":
            said = self.headers.get("Authorization", "")
            self._send(401, {"error": {"message": f"Incorrect key: {said}\n\x1b[31m"}})
        elif stumble == "no quota":
            self._send(429, {"error": {"message": "no money", "code": "insufficient_quota"}})
        elif stumble == "slow":
            time.sleep(0.6)
            self._send(*answer())
        elif stumble == "hang up":
            self.close_connection = True
        elif stumble == "truncated":
            status, value = answer()
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text[: len(text) // 2])
            self.close_connection = True
        elif stumble == "malformed":
            self._send(200, "<html>502 Bad Gateway</html>")
        elif stumble == "another form":
            self._send(200, {"choices": [], "edges": 3})
        else:
            self._send(*answer())

    def _send(self, status, value, headers=None):
        text = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(text)

    def _conceptnet(self):
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        if parts.path != "/query":
            return 404, {"error": {"status": 404}}
        limit = min(int(query.get("limit", 50)), self.server.page)
        offset = int(query.get("offset", 0))

        def touches(uri):
            return uri == query["node"] or uri.startswith(query["node"] + "/")

        edges = [
            edge
            for edge in self.server.edges
            if edge["rel"]["@id"] == query["rel"]
            and (touches(edge["start"]["@id"]) or touches(edge["end"]["@id"]))
        ]
        page = {
            "@id": self.path,
            "edges": edges[offset : offset + limit],
            "view": {"@type": "PartialCollectionView"},
        }
        if offset + limit < len(edges):
            following = {**query, "offset": offset + limit, "limit": limit}
            page["view"]["nextPage"] = "/query?" + urllib.parse.urlencode(following, safe="/")
        return 200, page

    def _chat(self, body):
        for name in self.server.refuses:
            if name in body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return 400, {"error": {"message": said, "param": name}}
        asked = json.loads(body["messages"][1]["content"])
        name = asked["class_name"]
        text = self.server.answers.get(name)
        if text is None:
            first = asked["question"].split()[1]
            text = json.dumps({"phrases": [f"{name} {first} {n}" for n in range(3)]})
        if self.server.echoes_key:
            text = json.dumps({"phrases": ["tail", self.headers["Authorization"]]})
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        value = {"id": "1", "object": "chat.completion", "model": "tiny-1", "choices": [choice]}
        if self.server.usage is not None:
            value["usage"] = self.server.usage
        return 200, value


@contextmanager
def loopback() -> Iterator[Loopback]:
    """A running server; gone at the end of the block."""
    server = Loopback()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def api_edge(relation: str, start: str, end: str, weight: float = 1.0) -> dict:
    """An edge as ConceptNet's API writes it; ends are terms such as "dog" or "dog/n"."""

    def node(term):
        language, _, text = term.rpartition(":")
        uri = f"/c/{language or 'en'}/{text}"
        label = text.partition("/")[0].replace("_", " ")
        return {"@id": uri, "@type": "Node", "label": label, "language": language or "en"}

    first, last = node(start), node(end)
    return {
        "@id": f"/a/[/r/{relation}/,{first['@id']}/,{last['@id']}/]",
        "@type": "Edge",
        "dataset": "/d/conceptnet/4/en",
        "start": first,
        "end": last,
        "rel": {"@id": f"/r/{relation}", "@type": "Relation", "label": relation},
        "license": "cc:by-sa/4.0",
        "surfaceText": None,
        "weight": weight,
    }


def dump_line(edge: dict) -> str:
    """The same edge as a line of ConceptNet's dump."""
    info = {
        "dataset": edge["dataset"],
        "license": edge["license"],
        "sources": [{"contributor": "/s/resource/test"}],
        "weight": edge["weight"],
    }
    columns = [edge["@id"], edge["rel"]["@id"], edge["start"]["@id"], edge["end"]["@id"]]
    return "\t".join([*columns, json.dumps(info)]) + "\n"


EDGES = [
    api_edge("HasA", "dog", "four_legs", 2.0),
    api_edge("HasA", "dog/n", "tail", 6.5),
    api_edge("HasA", "dog", "wet_nose", 1.0),
    api_edge("HasA", "dog", "weak_claim", 0.5),
    api_edge("HasA", "dog", "de:schwanz", 5.0),
    api_edge("HasA", "de:hund", "de:schwanz", 2.0),
    api_edge("HasA", "person", "dog", 2.0),
    api_edge("IsA", "dog/n/wn/animal", "canine/n/wn/animal", 2.0),
    api_edge("IsA", "dog", "animal", 7.0),
    api_edge("IsA", "dog", "dog", 3.0),
    api_edge("PartOf", "paw", "dog", 1.0),
    api_edge("PartOf", "dog", "pack", 1.0),
    api_edge("HasProperty", "dog", "loyal", 1.5),
    api_edge("MadeOf", "statue", "bronze", 1.0),
    api_edge("AtLocation", "bone", "dog", 1.0),
    api_edge("Synonym", "dog", "hound", 9.0),
    api_edge("HasA", "great_grey_shrike", "hooked_bill", 1.0),
    api_edge("HasA", "shrike", "black_mask", 1.0),
    api_edge("IsA", "fox", "canine", 1.0),
    api_edge("HasProperty", "fox", "red", 1.0),
    api_edge("HasA", "t_shirt", "sleeve", 1.0),
    api_edge("HasA", "dog", "é_tag", 1.0),
]
