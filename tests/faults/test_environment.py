"""What machine, disk and network do to a command: one line, and nothing half-written."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from command_line import ROOT, arguments, fails
from damage import tries
from forked import Blow
from works import WORKS, Undisturbed, left_by

FULL = tuple(name for name in WORKS if name != "concepts filter")


def test_a_full_disk(undisturbed: Undisturbed, tmp_path):
    """JAXCBM_FAULTS says how many disks fill up; without it, one under the quickest command."""
    names = FULL if tries(0) else ("encode",)
    bad = []
    for number in range(tries(1)):
        rng, name = np.random.default_rng(number), names[number % len(names)]
        before, usual = undisturbed.whole(name)
        folder = undisturbed.begin(name, tmp_path / str(number))
        blow = Blow(0, int(rng.integers(1, usual.touches)), written=int(2 ** rng.uniform(0, 10)))
        ended = undisturbed.start(name, folder, blow)
        if ended.code == 0:
            continue  # what it had left to write was small enough
        lines = [line for line in ended.said.splitlines() if line.startswith("jaxcbm: error:")]
        if ended.code != 2 or "Traceback" in ended.said or "no space left" not in lines[0]:
            bad.append((name, str(blow), ended))
            continue
        again = undisturbed.start(name, folder)
        if again.code or left_by(folder) != left_by(before):
            bad.append((name, str(blow), again))
    assert not bad, bad


@pytest.mark.parametrize("seconds", [-1e6, 1e6])
def test_a_clock_that_jumps(undisturbed: Undisturbed, tmp_path, seconds):
    before, usual = undisturbed.whole("encode")
    folder = undisturbed.begin("encode", tmp_path / "run")
    ended = undisturbed.start("encode", folder, Blow(0, usual.touches // 2, clock=seconds))
    assert ended.code == 0 and left_by(folder) == left_by(before), ended


def test_places_where_nothing_can_be_written(trained, picture_folder, tiny_encoder_folder, capsys):
    """/sys is read-only for everybody, root among them."""
    phrases = trained.parent / "phrases.txt"
    train = arguments("/sys/run", picture_folder, phrases, tiny_encoder_folder)
    fails(capsys, train, "/sys/run", "Operation not permitted")
    config = [word for word in train if word.startswith("--config")]
    fails(capsys, ["-q", "encode", *config, "--output=/sys/store"], "/sys/store")
    fails(capsys, ["-q", "export", f"--workdir={trained}", "--output=/sys/run"], "/sys/run")
    fails(
        capsys,
        ["-q", "edit", f"--workdir={trained}", "--delete=a blue tint", "--output=/sys/run"],
        "/sys/run",
    )
    images = f"--images={picture_folder}"
    output = "--output=/sys/labels.csv"
    fails(capsys, ["-q", "predict", f"--workdir={trained}", images, output], "/sys/labels.csv")


class Hub(ThreadingHTTPServer):
    """Says that it has a model, and sends half of each file, or nonsense."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], way: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.way = files, way
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that goes away is part of the test."""


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool):
        if self.path.startswith("/api/models/"):
            siblings = [{"rfilename": name} for name in self.server.files]
            said = {"id": "owner/model", "sha": "a" * 40, "siblings": siblings}
            content = json.dumps(said).encode()
            content = b"<html>502</html>" if self.server.way == "garbage" else content
            self._send(content, content, body)
        else:
            content = self.server.files[self.path.rpartition("/")[2]]
            self._send(content, content[: len(content) // 2], body)

    def _send(self, promised: bytes, sent: bytes, body: bool):
        self.send_response(200)
        self.send_header("Content-Length", str(len(promised)))
        self.send_header("ETag", '"0123"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        if body:
            self.wfile.write(sent)
        self.close_connection = len(sent) < len(promised)


@contextmanager
def hub(files: dict[str, bytes], way: str):
    server = Hub(files, way)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("way", ["half", "garbage"])
def test_a_hub_that_does_not_deliver(tiny_encoder_folder, picture_folder, tmp_path, way):
    files = {file.name: file.read_bytes() for file in Path(tiny_encoder_folder).iterdir()}
    argv = ["-q", "encode", f"--config={ROOT / 'configs' / 'folder.py'}"]
    argv += [f"--config.data.root={picture_folder}", "--config.encoder.name=owner/model"]
    code = "import sys; from jaxcbm.cli import main; sys.exit(main(sys.argv[1:]))"
    with hub(files, way) as url:
        own = {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
        own |= {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-c", code, *argv, f"--output={tmp_path / 'store'}"]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert lines[-1].startswith("jaxcbm: error: owner/model: "), lines
    assert not (tmp_path / "store").exists()
    snapshots = [file for file in (tmp_path / "hf").rglob("snapshots/*/*")]
    assert not snapshots, "half a file counts as whole"
