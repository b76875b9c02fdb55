"""kill -9 of `predict` at random moments: the folder is gone on from, and ends as if undisturbed.

Two kills by default; JAXCBM_FAULTS says how many. The same without a kill, in one process and
faster, is in tests/experiment/test_predict.py.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet
import pytest
from damage import tries

from benchmarks.soak_inputs import draw_shards, picture_name, save_toy_model

pytestmark = pytest.mark.slow
SHARD, FILES = 400, 12


def start(argv: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jaxcbm.cli", *argv], stderr=subprocess.PIPE, text=True
    )


def finished(folder) -> int:
    return len(list((folder / ".manifest").glob("part-*.json")))


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def test_what_a_killed_run_leaves_is_gone_on_from(tmp_path):
    shards = draw_shards(tmp_path, SHARD * FILES, SHARD)
    argv = ["predict", f"--workdir={save_toy_model(tmp_path)}", f"--images={tmp_path}/soak-*.tar"]
    argv.append("--batch-size=64")
    calm, folder = tmp_path / "calm", tmp_path / "killed"
    first = start([*argv, f"--output={calm}"])
    said = first.communicate()[1]
    assert first.returncode == 0, said
    rng, before = random.Random(0), 0
    for number in range(tries(2)):
        process = start([*argv, f"--output={folder}"])
        wanted = rng.randrange(before, FILES - 1)
        while finished(folder) <= wanted and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        before = min(finished(folder), FILES - 2)
        whole = content(calm)
        for name, found in content(folder).items():
            assert found == whole[name], f"kill {number}: {name} is there, and not whole"
    last = start([*argv, f"--output={folder}"])
    said = last.communicate()[1]
    assert last.returncode == 0, said
    assert content(folder) == content(calm)
    assert not [name for name in os.listdir(folder) if name.startswith(".part")]
    names = [
        row
        for file in sorted(folder.glob("part-*"))
        for row in pyarrow.parquet.read_table(file)["file"].to_pylist()
    ]
    assert names == [f"{shards[i // SHARD]}/{picture_name(i)}" for i in range(SHARD * FILES)]
