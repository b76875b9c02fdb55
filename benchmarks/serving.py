"""What a server does beside the model that it serves, and what it leaves behind.

python -m benchmarks.serving --workdir=runs/quickstart --requests=100000
python -m benchmarks.readme                              # then the page

It starts `jaxcbm serve`, sends pictures from another process (`benchmarks.http_load`) over more and
more connections, and then as many as it is told to over one number of them, while it looks at the
server's memory. At last it stops the server under load and counts what was not answered. Before all
that the same client asks `benchmarks.http_alone`, which is the HTTP stack with no model behind it.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import describe, idle_machine
from jaxcbm.atomic import write_json
from jaxcbm.data.birds.birds import random_birds
from jaxcbm.model.model import load_model
from jaxcbm.serve.service import compute_of

RESULT = Path("docs/results/serve.json")
CONNECTIONS = (1, 4, 16, 64)
PICTURES = 256
# Memory is looked at so often while the many requests run.
LOOKS = 20
SETTLED = 0.1


class Server(NamedTuple):
    """A running server, its port, and its log, which is a file."""

    process: subprocess.Popen
    port: int
    log: Path


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", type=Path, required=True, help="a finished run")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=64, help="of the many requests")
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--force", action="store_true", help="on a busy machine too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, idle_machine("serving", force=args.force) as load:
        pictures = Path(folder) / "pictures"
        save_pictures(pictures)
        bare = bare_function(args.workdir, pictures, args.max_batch)
        few = max(args.requests // 50, 200)
        with served(["benchmarks.http_alone"], Path(folder)) as server:
            send(server, pictures, few, 8)
            alone = [send(server, pictures, 10 * few, count) for count in CONNECTIONS]
        with served(serve_command(args.workdir, args.max_batch), Path(folder)) as server:
            send(server, pictures, few, 8)
            rows = [measured(server, pictures, few, count) for count in CONNECTIONS]
            endurance = endure(server, pictures, args.requests, args.connections)
            stop = stopped(server, pictures, args.connections)
    found = {
        **{"machine": describe(), "max_batch": args.max_batch, "bare": bare, "rows": rows},
        "http_alone": [row["requests_a_second"] for row in alone],
        **{"endurance": endurance, "stop": stop, "load": asdict(load)},
    }
    write_json(args.output, found)
    print(json.dumps(found, indent=2))


def save_pictures(folder: Path) -> None:
    """Painted birds as JPEG files."""
    folder.mkdir()
    images = random_birds(PICTURES, seed=1)
    for n in range(PICTURES):
        images[n].save(folder / f"{n:03d}.jpg", quality=90)


def bare_function(workdir: Path, folder: Path, max_batch: int) -> dict[str, Any]:
    """Pictures a second of the model in this process: from files, and from pixels by batch size."""
    model, files = load_model(workdir), sorted(folder.iterdir())
    contents = [file.read_bytes() for file in files]
    preprocess = model.loaded_encoder.preprocess
    pixels = np.stack([preprocess(content) for content in contents[:max_batch]])
    sizes = [1 << i for i in range(max_batch.bit_length())]
    compute = compute_of(model)
    from_pixels = {size: size / _shortest(lambda s=size: compute(pixels[:s])) for size in sizes}
    return {
        "from_files": len(files) / _shortest(lambda: model.predict(contents)),
        "from_pixels": from_pixels,
    }


def _shortest(work: Any, times: int = 5) -> float:
    work()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def serve_command(workdir: Path, max_batch: int) -> list[str]:
    """What `python -m` runs to serve a model to as many as ask."""
    command = ["jaxcbm", "serve", f"--workdir={workdir}", "--port=0"]
    return [*command, f"--max-batch={max_batch}", "--max-per-client=0"]


@contextmanager
def served(command: Sequence[str], folder: Path) -> Iterator[Server]:
    """A server that is ready; killed at the end if it has not stopped by itself."""
    log = folder / "log"
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        server = Server(process, port, log)
        while not _is_ready(server):
            if process.poll() is not None:
                sys.exit(log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        yield server
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz"):
            return True
    except OSError:
        return False


def send(server: Server, folder: Path, requests: int, connections: int) -> dict[str, Any]:
    """What a client says of so many requests."""
    done = subprocess.run(
        _client(server, folder, connections, f"--requests={requests}"),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


def _client(server: Server, folder: Path, connections: int, how: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.http_load", "127.0.0.1", str(server.port)]
    return [*command, str(folder), f"--connections={connections}", how]


def measured(server: Server, folder: Path, requests: int, connections: int) -> dict[str, Any]:
    """A row of the table: a client's view, and the batches that the server chose."""
    before = batches(server)
    found = send(server, folder, requests, connections)
    after = batches(server)
    chosen = {size: int(count - before.get(size, 0)) for size, count in after.items()}
    return {"connections": connections, **found, "batches": chosen}


def batches(server: Server) -> dict[str, float]:
    """Batches of each size so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        text = answer.read().decode()
    return {
        size: float(count)
        for size, count in re.findall(r'^jaxcbm_batches_total\{size="(\d+)"\} (\S+)', text, re.M)
    }


def endure(server: Server, folder: Path, requests: int, connections: int) -> dict[str, Any]:
    """Many requests, and the server's memory in MiB before, meanwhile and after."""
    resident, rows = [memory(server)], []
    for _ in range(LOOKS):
        rows.append(send(server, folder, requests // LOOKS, connections))
        resident.append(memory(server))
    answered: dict[str, int] = {}
    for row in rows:
        for status, count in row["answered"].items():
            answered[status] = answered.get(status, 0) + count
    return {
        "requests": sum(answered.values()),
        "answered": answered,
        "lost": sum(row["lost"] for row in rows),
        "requests_a_second": sum(answered.values()) / sum(row["seconds"] for row in rows),
        "p99_ms": max(row["p99_ms"] for row in rows),
        "resident_mib": resident,
    }


def memory(server: Server) -> float:
    """MiB that the server holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"^VmRSS:\s+(\d+)", status, re.M)[0]) / 1024


def stopped(server: Server, folder: Path, connections: int) -> dict[str, Any]:
    """SIGTERM while a client keeps asking: what was answered, and what was not."""
    logged = _answers(server)
    command = _client(server, folder, connections, "--until-closed")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        time.sleep(3.0)
        os.kill(server.process.pid, signal.SIGTERM)
        began = time.monotonic()
        code = server.process.wait(60)
        seconds = time.monotonic() - began
        found = json.loads(client.stdout.read())
    return {
        "stop_seconds": seconds,
        "exit_code": code,
        "answered_by_server": _answers(server) - logged,
        "answered_for_client": found["answered"].get("200", 0),
        "lost_at_stop": found["lost"],
    }


def _answers(server: Server) -> int:
    time.sleep(SETTLED)
    return server.log.read_text(encoding="utf-8").count(" /v1/predict 200 ")


if __name__ == "__main__":
    main()
