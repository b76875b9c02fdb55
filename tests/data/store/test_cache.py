"""The cache of feature stores that all runs share, and what may be removed of it and when."""

import gc
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder

from jaxcbm.cli import main
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.store import cache
from jaxcbm.data.store.cache import features_folder, prune, stores_in
from jaxcbm.data.store.feature_store import encode
from jaxcbm.data.store.in_use import alone_with_store, hold_store
from jaxcbm.errors import UserError


def encoded(root: Path, seed: int = 0, count: int = 5) -> Features:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    images = ImageSet.from_arrays(pixels, [0] * count, ["one"])
    return encode(images, FakeEncoder(), root, progress=lambda done, total: None)


def used_at(root: Path, days_ago: float, key: str) -> None:
    then = time.time() - days_ago * 86400
    os.utime(root / key / "manifest.json", (then, then))


def test_where_a_run_keeps_its_features(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("JAXCBM_CACHE")
    run = tmp_path / "run"
    assert features_folder(run) == tmp_path / ".cache" / "jaxcbm" / "features"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert features_folder(None) == tmp_path / "xdg" / "jaxcbm" / "features"
    monkeypatch.setenv("JAXCBM_CACHE", "~/mine")
    assert features_folder(run) == tmp_path / "mine" / "features"
    monkeypatch.setenv("JAXCBM_CACHE", "")
    assert features_folder(run) == run / "features"
    with pytest.raises(UserError, match="name one by"):
        features_folder(None)
    monkeypatch.setenv("JAXCBM_CACHE", "gs://bucket")
    with pytest.raises(UserError, match="a folder here"):
        features_folder(run)


def test_a_run_that_has_its_own_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCBM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "run" / "features").mkdir(parents=True)
    assert features_folder(tmp_path / "run") == tmp_path / "run" / "features"


def test_several_processes_share_their_work_directory_unless_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "process_count", lambda: 2)
    monkeypatch.delenv("JAXCBM_CACHE")
    assert features_folder(tmp_path) == tmp_path / "features"
    monkeypatch.setenv("JAXCBM_CACHE", str(tmp_path / "shared"))
    assert features_folder(tmp_path) == tmp_path / "shared" / "features"


def test_old_ones_go_and_what_is_used_again_is_young(tmp_path):
    keys = [encoded(tmp_path, seed).key for seed in range(3)]
    for days, key in zip((40, 31, 1), keys, strict=True):
        used_at(tmp_path, days, key)
    encoded(tmp_path, 1)  # opened again
    gc.collect()
    removed, used = prune(tmp_path, older_than=30 * 86400)
    assert ([store.folder.name for store in removed], used) == ([keys[0]], [])
    assert [store.folder.name for store in stores_in(tmp_path)] == [keys[1], keys[2]]


def test_the_rest_takes_no_more_than_is_kept(tmp_path):
    keys = [encoded(tmp_path, seed).key for seed in range(4)]
    for days, key in enumerate(keys):
        used_at(tmp_path, days, key)
    gc.collect()
    sizes = [store.bytes for store in stores_in(tmp_path)]
    assert len(set(sizes)) == 1
    removed, _ = prune(tmp_path, keep_bytes=2 * sizes[0] + 1)
    assert [store.folder.name for store in removed] == [keys[3], keys[2]]
    assert prune(tmp_path, keep_bytes=2 * sizes[0]) == ([], [])


def test_a_store_in_use_stays(tmp_path):
    features = encoded(tmp_path)
    part = features.select(np.arange(2))
    del features  # a part of it is enough
    gc.collect()
    removed, used = prune(tmp_path, keep_bytes=0)
    assert (removed, len(used)) == ([], 1)
    assert part.as_array().shape[0] == 2
    joined = Features.concatenate([part, part])
    del part
    gc.collect()
    assert prune(tmp_path, keep_bytes=0)[0] == []
    del joined
    gc.collect()
    assert len(prune(tmp_path, keep_bytes=0)[0]) == 1
    assert list(tmp_path.iterdir()) == []


_HOLD = """
import sys, time, pathlib
from jaxcbm.data.store.in_use import hold_store
held = hold_store(pathlib.Path(sys.argv[1]))
print("held" if held else "no", flush=True)
time.sleep(60)
"""


def test_a_reader_that_is_killed_holds_nothing(tmp_path):
    key = encoded(tmp_path).key
    gc.collect()
    reader = subprocess.Popen(
        [sys.executable, "-c", _HOLD, tmp_path / key], stdout=subprocess.PIPE, text=True
    )
    with reader:
        assert reader.stdout.readline() == "held\n"
        assert prune(tmp_path, keep_bytes=0)[0] == []
        reader.kill()
    assert len(prune(tmp_path, keep_bytes=0)[0]) == 1


def test_a_store_that_is_removed_and_made_again_while_a_reader_waits(tmp_path):
    folder, held = tmp_path / encoded(tmp_path).key, []
    gc.collect()
    with alone_with_store(folder) as alone:
        assert alone
        reader = threading.Thread(target=lambda: held.append(hold_store(folder)))
        reader.start()
        while not any(str(folder) in os.readlink(link) for link in opened_more_than_once()):
            time.sleep(0.01)
        os.rename(folder, tmp_path / "aside")
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")
    reader.join()
    with alone_with_store(folder) as alone:
        assert not alone, "the reader holds what was removed"


def opened_more_than_once() -> list[str]:
    """Descriptors of files that this process has open twice: one waits for the other."""
    links = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.setdefault(os.readlink(link), []).append(str(link))
    return [each[0] for each in links.values() if len(each) > 1]


def test_nothing_else_in_the_folder_is_touched(tmp_path):
    encoded(tmp_path)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "manifest.json").write_text("{}")
    (tmp_path / f".{'0' * 64}.1234.removed").mkdir()  # a removal that was killed
    gc.collect()
    prune(tmp_path, keep_bytes=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_damaged_manifest_is_listed_all_the_same(tmp_path):
    key = encoded(tmp_path).key
    for content in (b"", b"[]", b'{"images": "many", "encoder": 3}', b"\xff"):
        (tmp_path / key / "manifest.json").write_bytes(content)
        (store,) = stores_in(tmp_path)
        assert (store.folder.name, store.images) == (key, 0)


def test_encoding_beside_someone_who_prunes(tmp_path):
    """Rows are whole whatever is removed between two openings."""
    expected, over = encoded(tmp_path).as_array(), threading.Event()

    def keep_pruning():
        while not over.is_set():
            prune(tmp_path, keep_bytes=0)

    thread = threading.Thread(target=keep_pruning)
    thread.start()
    try:
        for _ in range(40):
            np.testing.assert_array_equal(encoded(tmp_path).as_array(), expected)
    finally:
        over.set()
        thread.join()


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXCBM_CACHE", "")  # restored afterwards
    root = tmp_path / "features"
    for seed in range(2):
        encoded(root, seed)
    gc.collect()
    command = ["cache", f"--cache={tmp_path}"]
    assert main(command) == 0
    listed = capsys.readouterr().out
    assert "in 2 stores" in listed and listed.count("now") == 2
    assert main([*command, "--prune", "--older-than=2h"]) == 0
    assert "0 stores removed" in capsys.readouterr().out
    assert main([*command, "--prune", "--keep-bytes=0"]) == 0
    assert "2 stores removed" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 bytes in 0 stores" in capsys.readouterr().out
    for wrong in (
        ["--prune"],
        ["--older-than=2h"],
        ["--prune", "--older-than=soon"],
        ["--prune", "--keep-bytes=-1"],
    ):
        assert main([*command, *wrong]) == 2
