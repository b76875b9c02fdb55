"""The local rehearsal: signals and failures with a stand-in, then the real thing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_tools import LAUNCH, make_tools

from jaxcbm.model.model import load_model

ROOT = Path(__file__).parents[2]
# A stand-in for jaxcbm: its place decides what it does.
STAND_IN = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
place = [w for w in sys.argv if w.startswith("--process=")][0][-1]
folder = pathlib.Path(os.environ["FOLDER"])
def stop(*_):
    (folder / f"stopped-{{place}}").touch()
    sys.exit(143)
def started(name):
    (folder / f"{{name}}-{{place}}.aside").write_text(" ".join(sys.argv[1:]))
    (folder / f"{{name}}-{{place}}.aside").rename(folder / f"{{name}}-{{place}}")
how = os.environ.get(f"HOW{{place}}", "wait")
signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "deaf" else stop)
print("hello from", place, flush=True)
started("started")
if how.isdigit():
    sys.exit(int(how))
time.sleep(300)
"""
# Tests in the background of a shell ignore SIGINT, and bash cannot trap what it came with.
UNIGNORED = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("bash", ["bash", *sys.argv[1:]])
"""


@pytest.fixture
def start(tmp_path):
    tools = make_tools(tmp_path / "tools")
    (tmp_path / "tools" / "jaxcbm").write_text(STAND_IN)
    running = []

    def start(**variables):
        process = subprocess.Popen(
            [sys.executable, "-c", UNIGNORED, str(LAUNCH / "two_processes.sh"), "--workdir=a b"],
            env={**tools, "FOLDER": str(tmp_path), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()


def wait_for(*paths, seconds=60):
    end = time.monotonic() + seconds
    while not all(path.exists() for path in paths):
        assert time.monotonic() < end, f"none of {paths} after {seconds} s"
        time.sleep(0.05)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_both_processes(which, start, tmp_path):
    process = start()
    wait_for(tmp_path / "started-0", tmp_path / "started-1")
    process.send_signal(which)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert (tmp_path / "stopped-0").exists() and (tmp_path / "stopped-1").exists()
    assert "hello from 0" in said and "[1] hello from 1" in said


def test_both_are_given_the_same_cluster(start, tmp_path):
    process = start(HOW0="0", HOW1="0")
    process.communicate(timeout=60)
    assert process.returncode == 0
    commands = [(tmp_path / f"started-{i}").read_text() for i in (0, 1)]
    assert commands[1] == commands[0].replace("--process=0", "--process=1") != commands[0]
    assert commands[0].startswith("train --workdir=a b --distributed --coordinator=127.0.0.1:")


@pytest.mark.parametrize("bad", [0, 1])
def test_the_exit_code_is_the_first_failure_and_nobody_is_left(bad, start, tmp_path):
    process = start(**{f"HOW{bad}": "2", f"HOW{1 - bad}": "deaf", "GRACE": "1"})
    process.communicate(timeout=60)
    # Where process 0 had to be killed its 137 comes first.
    assert process.returncode == (2 if bad == 0 else 137)


def run(words, workdir, **variables):
    environment = {name: value for name, value in os.environ.items() if "JAX" not in name}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.Popen(
        [
            *map(str, words),
            f"--config={ROOT / 'configs' / 'folder.py'}",
            f"--workdir={workdir}",
            "--config.training.epochs=3",
            "--config.sparse_head.enabled=False",
        ],
        env={**environment, "HF_HUB_OFFLINE": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_the_rehearsal_trains_what_one_process_trains(
    tmp_path, picture_folder, tiny_encoder_folder
):
    (tmp_path / "phrases.txt").write_text("an amber glow\na blue tint\na coral hue\n")
    data = [
        f"--config.data.root={picture_folder}",
        f"--config.concepts={tmp_path / 'phrases.txt'}",
        f"--config.encoder.name={tiny_encoder_folder}",
    ]
    two = run(["bash", LAUNCH / "two_processes.sh", *data], tmp_path / "two", DEVICES="2")
    said, _ = two.communicate(timeout=300)
    assert two.returncode == 0, said
    # Four devices in one process; pictures are encoded in other batches, which rounds otherwise.
    one = run(["bash", LAUNCH / "simulated_devices.sh", *data], tmp_path / "one", DEVICES="4")
    said, _ = one.communicate(timeout=300)
    assert one.returncode == 0, said
    models = [load_model(tmp_path / name) for name in ("two", "one")]
    for name, value in models[1].params.items():
        np.testing.assert_allclose(models[0].params[name], value, atol=1e-4)
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    kinds = [(row["step"], row["split"], row["name"]) for row in map(json.loads, lines)]
    assert len(kinds) == len(set(kinds)), "two processes wrote the same metrics"
