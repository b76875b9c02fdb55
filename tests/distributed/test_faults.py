"""kill -9 and SIGTERM of either of two processes at random moments: nothing is lost or doubled.

Four signals by default; twenty, as a measurement, with

    JAXCBM_FAULT_ROUNDS=20 python -m pytest -m slow tests/distributed/test_faults.py
"""

import itertools
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from pair import Ended, start_pair, wait_for

from jaxcbm.data.datasets import load_dataset
from jaxcbm.data.store.feature_store import encode
from jaxcbm.encoders.load import load_encoder
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("JAXCBM_FAULT_ROUNDS", "4"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
pytestmark = pytest.mark.slow
SHARDS = 9  # 36 pictures, four a shard


@pytest.fixture(scope="module")
def words(tmp_path_factory, picture_folder, tiny_encoder_folder) -> list[str]:
    phrases = tmp_path_factory.mktemp("phrases") / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    return [
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--config.data.root={picture_folder}",
        f"--config.concepts={phrases}",
        f"--config.encoder.name={tiny_encoder_folder}",
        "--config.training.epochs=60",
        "--config.training.patience=0",
        "--config.training.checkpoint_every=7",
        "--config.sparse_head.enabled=False",
    ]


def disturbed(
    argv: list[str], rng: random.Random, victim: int, number: int, seconds: float, **options
) -> tuple[list[Ended], bool]:
    """Run a pair and send one of them a signal at a random moment; was it in time?"""
    pair = start_pair(argv, **options)
    target = pair[victim]
    try:
        target.wait(timeout=rng.uniform(0.2, 0.95) * seconds)
        hit = False
    except subprocess.TimeoutExpired:
        target.send_signal(number)
        hit = True
    ended = wait_for(pair)
    # Where one has left with success, the signal came when all was done.
    return ended, hit and 0 not in [one.code for one in ended]


def check_end(ended: list[Ended], victim: int, number: int, hit: bool) -> None:
    """No process claims success where another one failed, and each says why it ends."""
    codes = [one.code for one in ended]
    if not hit:
        assert 0 in codes and set(codes) <= {0, -number}, ended
        return
    if codes == [143, 143]:
        lines = [one.error.splitlines()[-1] for one in ended]
        assert lines[0] == lines[1] and lines[0].startswith("jaxcbm: stopped"), ended
        assert lines[0].endswith("the same command continues"), ended
        return
    # Killed, or told to stop before anybody listened: the other one does not go on alone.
    assert codes[victim] == -number, ended
    assert codes[1 - victim] != -signal.SIGKILL, ended
    left = ended[1 - victim].error
    assert left.strip().splitlines()[-1].startswith("jaxcbm: "), ended
    assert not any(word in left for word in ("Traceback", "stack trace", "coordination_")), ended


def store_of(folder: Path) -> dict[str, bytes]:
    """Every file of the one store in a folder of stores, but for what a dead writer left."""
    (store,) = (path for path in folder.iterdir() if path.is_dir())
    files = {path.name: path.read_bytes() for path in store.iterdir()}
    return {name: content for name, content in files.items() if not name.startswith(".")}


def result_of(workdir: Path) -> dict[str, bytes]:
    """What must not depend on interruptions: parameters, the log, the store."""
    names = ("model/model.safetensors", "metrics.jsonl")
    files = {name: (workdir / name).read_bytes() for name in names}
    return {**files, **store_of(workdir / "features")}


def endure(argv_of, result, workdirs: Path, rounds: int, seed: int, **options) -> dict[str, int]:
    """Interrupt a work as often as asked for; each time it is whole, begin a new one.

    Args:
        argv_of: folder -> command.
        result: folder -> what must not depend on interruptions.
        workdirs: a new folder for every work.
        rounds: how many signals.
        seed: of moments and victims.

    Returns:
        How often each kind of end was seen.
    """
    rng = random.Random(seed)
    begun = time.monotonic()
    first = workdirs / "undisturbed"
    assert [one.code for one in wait_for(start_pair(argv_of(first), **options))] == [0, 0]
    seconds, wanted = time.monotonic() - begun, result(first)
    kinds = [(victim, number) for victim in (0, 1) for number in SIGNALS]
    folders = (workdirs / f"disturbed-{n}" for n in itertools.count())
    folder, seen, done = next(folders), {}, 0
    while done < rounds:
        victim, number = kinds[done % len(kinds)]
        begun = time.monotonic()
        ended, hit = disturbed(argv_of(folder), rng, victim, number, seconds, **options)
        check_end(ended, victim, number, hit)
        codes = f"{signal.Signals(number).name} of {victim}: {[one.code for one in ended]}"
        seen[codes] = seen.get(codes, 0) + 1
        done += hit
        if not hit:
            # The moments were drawn too late: the machine is faster than it was, or caches help.
            seconds = min(seconds, time.monotonic() - begun)
            assert result(folder) == wanted
            folder = next(folders)
    assert [one.code for one in wait_for(start_pair(argv_of(folder), **options))] == [0, 0]
    assert result(folder) == wanted
    return seen


def test_training_survives(words, tmp_path):
    seen = endure(
        lambda folder: ["train", *words, f"--workdir={folder}"],
        result_of,
        tmp_path,
        ROUNDS - ROUNDS // 4,
        seed=0,
        settings={"step": 0.05, "shard": 0.2},
    )
    print(f"train: {seen}")
    shards = [n for n in store_of(tmp_path / "undisturbed" / "features") if n.startswith("shard")]
    assert len(shards) == 2 * SHARDS


def test_encoding_survives(words, tmp_path):
    seen = endure(
        lambda folder: ["encode", *words, f"--output={folder}"],
        store_of,
        tmp_path,
        ROUNDS // 4,
        seed=1,
        settings={"shard": 0.5},
    )
    print(f"encode: {seen}")
    shards = [name for name in store_of(tmp_path / "undisturbed") if name.startswith("shard")]
    assert len(shards) == 2 * SHARDS
    stores = list((tmp_path / "undisturbed").iterdir())
    whole = rows_of(tmp_path / "undisturbed", words)
    assert list((tmp_path / "undisturbed").iterdir()) == stores  # found, not made anew
    alone = rows_of(tmp_path / "single", words)
    assert whole.shape == alone.shape
    np.testing.assert_allclose(whole, alone, atol=1e-5)


def rows_of(root: Path, words: list[str]) -> np.ndarray:
    """The embeddings of a store of this key, which is made by this process if it is not there."""
    experiment = read_experiment(read_config(words[0].split("=", 1)[1], words[1:]))
    encoder = load_encoder(experiment.encoder.name)
    images = load_dataset(experiment.data)[0]
    assert images is not None
    return encode(images, encoder, root, shard_size=4, progress=lambda *_: None).as_array()
