"""A hub of its own on loopback: what huggingface_hub's client asks for when it pushes and pulls."""

import base64
import hashlib
import json
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What the hub does to a file that it sends.
DAMAGES = ("half", "flipped", "another", "longer", "page")


@dataclass
class Repository:
    """Commits as whole sets of files, and where its branches stand."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        told = "".join(f"{path}{hashlib.sha256(x).hexdigest()}" for path, x in files.items())
        before = self.branches.get(branch, "")
        oid = hashlib.sha1(f"{len(self.commits)}{before}{told}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = dict(files), oid
        return oid

    def find(self, revision: str) -> str | None:
        oid = self.branches.get(revision, revision)
        return oid if oid in self.commits else None


class LoopbackHub(ThreadingHTTPServer):
    """The hub; one token may write and may read what is private.

    Attributes:
        token: that token.
        large: whether safetensors go the way of large files.
        damage: file name -> one of `DAMAGES`, or "endless".
        elsewhere: a place to which it sends whoever asks for a file; "" for none.
        answer: a status and a body that it answers everything with; None for what it should.
        requests: method and path of each request.
        tokens: the Authorization of each.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.token = "hf_" + "s3cret" * 5
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.large = True
        self.damage: dict[str, str] = {}
        self.elsewhere = ""
        self.answer: tuple[int, str] | None = None
        self.requests: list[str] = []
        self.tokens: list[str] = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that goes away is part of the tests."""


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, **more: str):
        self.status, self.code, self.message, self.more = status, code, message, more


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self._serve(self._get)

    def do_HEAD(self):
        self._serve(self._get)

    def do_POST(self):
        self._serve(self._post)

    def do_PUT(self):
        self._serve(self._put)

    def _serve(self, answer):
        server = self.server
        self.body = self._read()
        said = self.headers.get("Authorization", "")
        server.requests.append(f"{self.command} {self.path}")
        server.tokens.append(said)
        self.known = said == f"Bearer {server.token}"
        path = urllib.parse.urlsplit(self.path).path
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if server.answer is not None:
            status, text = server.answer
            self._send(status, text.replace("TOKEN", said).encode())
            return
        try:
            answer(parts)
        except _Refused as no:
            said = {"error": no.message, **no.more}
            self._json(said, no.status, {"X-Error-Code": no.code})

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _get(self, parts):
        match parts:
            case ["api", "models", owner, name, *rest] if rest[:1] in ([], ["revision"]):
                repository = self._find(f"{owner}/{name}")
                oid = self._revision(repository, rest[1] if rest else "main")
                siblings = [{"rfilename": path} for path in repository.commits[oid]]
                self._json({"id": f"{owner}/{name}", "sha": oid, "siblings": siblings})
            case ["api", "models", owner, name, "tree", revision]:
                repository = self._find(f"{owner}/{name}")
                files = repository.commits[self._revision(repository, revision)]
                self._json([_entry(path, content) for path, content in files.items()])
            case [owner, name, "resolve", revision, *path]:
                repository = self._find(f"{owner}/{name}")
                oid = self._revision(repository, revision)
                self._file("/".join(path), repository.commits[oid], oid)
            case _:
                raise _Refused(404, "", "no such address")

    def _file(self, path, files, oid):
        if path not in files:
            raise _Refused(404, "EntryNotFound", f"no {path}")
        content = files[path]
        headers = {"X-Repo-Commit": oid, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        damage = self.server.damage.get(path)
        if damage == "flipped":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if damage == "another":
            content = bytes(len(content))
        if damage == "longer":
            content += content
        if damage == "page":
            content = b"<html>Welcome to this hotel</html>"
        if self.server.elsewhere:
            linked = {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(content))}
            place = {"Location": f"{self.server.elsewhere}/{path}"}
            self._send(302, b"", headers | linked | place)
        elif damage == "endless" and self.command == "GET":
            self._endless(headers)
        else:
            self._send(200, content, headers, half=damage == "half")

    def _endless(self, headers):
        self.send_response(200)
        for key, value in {"Transfer-Encoding": "chunked", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.close_connection = True
        while True:  # until the client goes away
            self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    def _post(self, parts):
        match parts:
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._may_write()
                asked = json.loads(self.body)
                name = f"{asked['organization']}/{asked['name']}"
                if name in self.server.repositories:
                    url = f"{self.server.url}/{name}"
                    raise _Refused(409, "", "You already created this model repo", url=url)
                made = Repository(asked.get("visibility") == "private")
                made.commit("main", {".gitattributes": b"*.safetensors filter=lfs\n"})
                self.server.repositories[name] = made
                self._json({"url": f"{self.server.url}/{name}"})
            case ["api", "models", owner, name, "branch", branch]:
                self._may_write()
                repository = self._find(f"{owner}/{name}")
                if branch in repository.branches:
                    raise _Refused(409, "", "Reference already exists")
                repository.branches[branch] = repository.branches["main"]
                self._json({})
            case ["api", "models", owner, name, "preupload", revision]:
                self._may_write()
                repository = self._find(f"{owner}/{name}")
                files = repository.commits[self._revision(repository, revision)]
                asked = [file["path"] for file in json.loads(self.body)["files"]]
                told = [self._upload_mode(path, files.get(path)) for path in asked]
                self._json({"files": told})
            case [owner, name, "info", "lfs", "objects", "batch"]:
                self._may_write()
                self._find(f"{owner}/{name.removesuffix('.git')}")
                asked = json.loads(self.body)["objects"]
                self._json({"transfer": "basic", "objects": [self._upload(each) for each in asked]})
            case ["api", "models", owner, name, "commit", branch]:
                self._may_write()
                self._commit(self._find(f"{owner}/{name}"), branch, f"{owner}/{name}")
            case _:
                raise _Refused(404, "", "no such address")

    def _upload_mode(self, path, there):
        """How a file is to be sent, and what lies there under its name."""
        large = self.server.large and path.endswith(".safetensors")
        known = {} if there is None else {"oid": _oid(path if large else "", there)}
        mode = "lfs" if large else "regular"
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, **known}

    def _upload(self, each):
        href = f"{self.server.url}/lfs/{each['oid']}"
        return {**each, "actions": {"upload": {"href": href}}}

    def _put(self, parts):
        oid = parts[-1]
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Refused(400, "", "another content than was said")
        self.server.objects[oid] = self.body
        self._send(200, b"")

    def _commit(self, repository, branch, name):
        if branch not in repository.branches:
            raise _Refused(404, "RevisionNotFound", f"no branch {branch}")
        files = dict(repository.commits[repository.branches[branch]])
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.server.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        oid = repository.commit(branch, files)
        self._json({"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid})

    def _may_write(self):
        if not self.known:
            raise _Refused(401, "", "Invalid credentials in Authorization header")

    def _find(self, name) -> Repository:
        found = self.server.repositories.get(name)
        if found is None or (found.private and not self.known):
            raise _Refused(401, "RepoNotFound", "Repository not found")
        return found

    def _revision(self, repository, revision) -> str:
        oid = repository.find(revision)
        if oid is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return oid

    def _json(self, value: Any, status: int = 200, headers=None):
        about = {"Content-Type": "application/json", **(headers or {})}
        if status >= 400:
            about["X-Error-Message"] = value["error"]
        self._send(status, json.dumps(value).encode(), about)

    def _send(self, status, content, headers=None, half=False):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if half else content)
            self.close_connection = self.close_connection or half


def _entry(path, content):
    entry = {"type": "file", "path": path, "size": len(content), "oid": _oid("", content)}
    if path.endswith(".safetensors"):
        entry["lfs"] = {"oid": _oid(path, content), "size": len(content), "pointerSize": 134}
    return entry


def _oid(path, content):
    """Of a large file the SHA-256, of others what git calls them."""
    if path.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
