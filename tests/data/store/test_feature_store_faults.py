"""Kills, full disks, broken shards and company: nothing half-written is ever read as whole."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder, array_images, file_images

from jaxcbm.data.store.feature_store import encode
from jaxcbm.data.store.row_file import RowFile
from jaxcbm.data.store.shards import read_shard, write_shard
from jaxcbm.errors import UserError

COUNT, SHARD = 45, 8
SHARDS = -(-COUNT // SHARD)

# A real process that encodes, and that can be told to die or to find the disk full.
PROCESS = """
import os, resource, signal, sys, time
from fake_encoder import FakeEncoder, array_images
from jaxcbm.data.store.feature_store import encode
from jaxcbm.errors import UserError

root, what, number, count, shard, width = *sys.argv[1:3], *map(int, sys.argv[3:])
rename, renames = os.replace, 0

def dying_rename(source, target):
    global renames
    renames += 1
    if renames == number and what == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
    if renames == number and what == "after":
        os.kill(os.getpid(), signal.SIGKILL)

class Encoder(FakeEncoder):
    def embed_pixels(self, pixels, batch_size=64):
        time.sleep(number / 1000 if what == "slow" else 0)
        return super().embed_pixels(pixels, batch_size)

os.replace = dying_rename
if what == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
try:
    encode(array_images(count), Encoder(embed_dim=width), root, shard_size=shard, batch_size=4)
except UserError as error:
    sys.exit(f"UserError: {error}")
"""


def start(root: Path, what: str, number: int, width: int = 8) -> subprocess.Popen:
    here = Path(__file__).parent
    settings = [str(value) for value in (number, COUNT, SHARD, width)]
    paths = [str(here.parent), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(root), what, *settings],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def store(root: Path, encoder: FakeEncoder | None = None, **options):
    options = {"shard_size": SHARD, "batch_size": 4, "progress": lambda done, total: None} | options
    return encode(array_images(COUNT), encoder or FakeEncoder(), root, **options)


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a store; temporary files of the dead are not part of it."""
    files = [path for path in root.rglob("*") if path.is_file() and ".tmp" not in path.name]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    store(root)
    return contents(root)


# Renames of a run: 1 the manifest, then an array and its record for each shard.
@pytest.mark.parametrize(
    ("what", "number", "whole"), [("before", 2, 0), ("after", 4, 1), ("before", 9, 3)]
)
def test_killed_and_resumed(tmp_path, undisturbed, what, number, whole):
    process = start(tmp_path, what, number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, error
    assert len(list(tmp_path.glob("*/shard-*.json"))) == whole
    encoder = FakeEncoder()
    store(tmp_path, encoder)
    assert sum(encoder.batches) == COUNT - whole * SHARD
    assert contents(tmp_path) == undisturbed


def test_killed_from_outside_at_some_moment(tmp_path, undisturbed):
    process = start(tmp_path, "slow", 20)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*/shard-*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    store(tmp_path)
    assert contents(tmp_path) == undisturbed


def test_two_processes_at_once(tmp_path, undisturbed):
    processes = [start(tmp_path, "slow", 5) for _ in range(2)]
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
    encoder = FakeEncoder()
    store(tmp_path, encoder)
    assert encoder.batches == []
    assert contents(tmp_path) == undisturbed


def test_writers_whose_arithmetic_differs(tmp_path):
    """Each record names the array that it was written for, so any mixture of them is consistent."""

    class Rounding(FakeEncoder):
        def embed_pixels(self, pixels, batch_size=64):
            return np.nextafter(super().embed_pixels(pixels, batch_size), np.float32(2))

    one = store(tmp_path).as_array()
    records = {path: path.read_bytes() for path in tmp_path.glob("*/shard-*.json")}
    for path in records:
        path.unlink()
    other = store(tmp_path, Rounding()).as_array()
    assert not np.array_equal(one, other)
    path = sorted(records)[2]
    path.write_bytes(records[path])
    mixed, encoder = store(tmp_path, quiet := FakeEncoder()).as_array(), quiet
    assert encoder.batches == []
    np.testing.assert_array_equal(mixed[2 * SHARD : 3 * SHARD], one[2 * SHARD : 3 * SHARD])
    np.testing.assert_array_equal(mixed[: 2 * SHARD], other[: 2 * SHARD])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("kind", ["*.npy", "*.json"])
@pytest.mark.parametrize("damage", [flip_a_bit, cut_off, empty, Path.unlink])
def test_a_damaged_shard_is_encoded_again(tmp_path, undisturbed, kind, damage):
    store(tmp_path)
    damage(sorted(tmp_path.glob(f"*/shard-{kind}"))[3])
    encoder = FakeEncoder()
    store(tmp_path, encoder)
    assert sum(encoder.batches) == SHARD
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "change",
    [
        {"skipped": [[0, "x"]]},
        {"skipped": "none"},
        {"file": None},
        {"bytes": 1},
    ],
)
def test_a_record_that_does_not_fit_is_not_believed(tmp_path, undisturbed, change):
    store(tmp_path)
    path = min(tmp_path.glob("*/shard-*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    store(tmp_path)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("images", "width", "dtype"), [(4, 8, "float32"), (3, 9, "float32"), (3, 8, "float16")]
)
def test_a_whole_shard_of_something_else_is_refused(tmp_path, images, width, dtype):
    write_shard(tmp_path, 0, np.ones((3, 8), np.float32), ())
    assert read_shard(tmp_path, 0, images, width, np.dtype(dtype)) is None
    assert read_shard(tmp_path, 0, 3, 8, np.dtype("float32")) is not None


def test_what_another_process_has_verified_is_looked_at_for_size_alone(tmp_path):
    write_shard(tmp_path, 0, np.ones((3, 8), np.float32), ())
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert read_shard(tmp_path, 0, 3, 8, np.dtype("float32")) is None
    assert read_shard(tmp_path, 0, 3, 8, np.dtype("float32"), verify=False) is not None
    path.write_bytes(path.read_bytes()[:-1])
    assert read_shard(tmp_path, 0, 3, 8, np.dtype("float32"), verify=False) is None


def test_a_record_cannot_name_a_file_elsewhere(tmp_path):
    write_shard(tmp_path / "other", 0, np.ones((3, 8), np.float32), ())
    record = json.loads((tmp_path / "other/shard-00000.json").read_text())
    record["file"] = f"../other/{record['file']}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/shard-00000.json").write_text(json.dumps(record))
    assert read_shard(tmp_path / "mine", 0, 3, 8, np.dtype("float32")) is None


def test_full_disk_by_the_system(tmp_path):
    """The system's own limit on the size of a file, in a real process."""
    process = start(tmp_path, "limit", 1000, width=64)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [line for line in error.splitlines() if line.startswith("UserError")]
    assert re.search(rf"no space left .*{tmp_path}.*shard-00000.*11\.5 kB of features", line), line
    assert not list(tmp_path.glob("*/shard-*")) and not list(tmp_path.glob("*/.*"))


def test_full_disk_in_the_middle_names_place_and_need(tmp_path, monkeypatch, undisturbed):
    write, calls = Path.write_bytes, []

    def fill_up(path: Path, content: bytes) -> int:
        if ".npy" not in path.name:
            return write(path, content)
        calls.append(path)
        if len(calls) == 3:
            write(path, content[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    need = re.escape(f"({(COUNT - 2 * SHARD) * 32} bytes of features are still to be written)")
    with pytest.raises(UserError, match=rf"no space left .*shard-00002.* {need}"):
        store(tmp_path)
    assert not calls[2].exists()
    assert len(list(tmp_path.glob("*/shard-*.json"))) == 2
    store(tmp_path)
    assert contents(tmp_path) == undisturbed


def test_a_disk_known_to_be_too_small_is_refused_at_once(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})()
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    encoder = FakeEncoder()
    with pytest.raises(UserError, match=r"needs 1\.4 kB, 1\.0 kB free; free some or choose"):
        store(tmp_path, encoder)
    assert encoder.batches == []


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(UserError, match="cannot make the feature store"):
        store(tmp_path / "taken")


def test_leftovers_of_the_dead_are_swept_and_the_living_are_left_alone(tmp_path):
    folder = tmp_path / store(tmp_path).key
    old, new = folder / ".shard-00001.1.tmp.npy", folder / ".shard-00002.2.tmp.npy"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    min(folder.glob("shard-*.json")).unlink()
    store(tmp_path)
    assert not old.exists() and new.exists()


def test_resuming_does_not_depend_on_unreadable_pictures(tmp_path):
    images = file_images(tmp_path / "pictures", 20)
    (tmp_path / "pictures/009.png").write_bytes(b"x")
    options = {"shard_size": 8, "batch_size": 3, "progress": lambda done, total: None}
    encode(images, FakeEncoder(), tmp_path / "a", **options)
    whole = contents(tmp_path / "a")
    next((tmp_path / "a").glob("*/shard-00001.json")).unlink()
    encode(images, FakeEncoder(), tmp_path / "a", **options)
    assert contents(tmp_path / "a") == whole


def test_damage_is_found_in_every_single_byte_of_an_array(tmp_path):
    """The checksum is over the whole file, header included."""
    store(tmp_path)
    path = min(tmp_path.glob("*/shard-*.npy"))
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 9).astype(int):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        encoder = FakeEncoder()
        store(tmp_path, encoder)
        assert sum(encoder.batches) == SHARD and path.read_bytes() == whole


def test_rows_cut_off_since_they_were_opened(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((4, 3), np.float32))
    rows = RowFile.open(tmp_path / "rows.npy")
    os.truncate(tmp_path / "rows.npy", 140)
    with pytest.raises(OSError, match="cut off") as caught:
        rows[:]
    # What the command line makes a line of.
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(rows.path))
