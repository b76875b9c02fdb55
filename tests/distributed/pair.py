"""Two processes of two simulated devices each, started, watched and ended from a test."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

WORKER = Path(__file__).parent / "command_worker.py"
# No single wait of a healthy run is near this, also on a machine with much else to do.
LIMIT_SECONDS = 180


class Ended(NamedTuple):
    """What a process left: its exit code and what it said."""

    code: int
    out: str
    error: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def environment(devices: int = 2) -> dict[str, str]:
    """So many simulated devices and one thread each."""
    own = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "NPROC": "16",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return {**os.environ, **own}


def launch(argv: Sequence[str], *, settings: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    """One process; `argv` as after `jaxcbm`."""
    command = [sys.executable, str(WORKER), json.dumps(settings or {}), *argv]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def start_pair(
    argv: Sequence[str],
    *,
    differ: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
) -> list[subprocess.Popen[str]]:
    """The same command as processes 0 and 1; `differ` is added to the second one's words."""
    words = ["--distributed", f"--coordinator=localhost:{free_port()}", "--processes=2"]
    return [
        launch(
            [*argv, *words, f"--process={i}", *(differ if i else ())],
            settings=settings,
        )
        for i in range(2)
    ]


def wait_for(pair: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    """Wait for all; one that hangs is killed, and fails the test."""
    ended: list[Ended | None] = [None] * len(pair)

    def collect(number: int) -> None:
        process = pair[number]
        try:
            out, error = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, error = process.communicate()
            error += "\nHANGS"
        ended[number] = Ended(process.returncode, out, error)

    threads = [threading.Thread(target=collect, args=[n]) for n in range(len(pair))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [one for one in ended if one is not None]
    assert not any(one.error.endswith("HANGS") for one in done), done
    return done
