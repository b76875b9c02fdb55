"""Every command that writes, killed at random moments and started again: to the last bit the same.

Two kills by default, of commands that are quick; as many as are asked for, over all commands, with

    JAXCBM_FAULTS=100 python -m pytest -m slow tests/faults/test_kills.py
"""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import tries
from forked import Blow, Ended, run
from loopback import loopback
from record import record
from works import WORKS, left_by, make_inputs

SEED = 0
# How the blows fall: half are the hardest, and half of these in the middle of a write.
_MANNERS = ("kill", "kill later", "within a write", "within a write", "SIGTERM", "SIGINT")
Start = Callable[..., Ended]


@pytest.fixture(scope="module")
def start():
    """Runs a work; all ask the same server."""
    with loopback() as server:

        def run_work(name: str, folder: Path, blow: Blow | None = None) -> Ended:
            return run([word.format(url=server.url) for word in WORKS[name].argv], folder, blow)

        yield run_work


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory, picture_folder, tiny_encoder_folder):
    """A work -> the folder that its undisturbed run left, and how that ended."""
    root = tmp_path_factory.mktemp("whole")
    make_inputs(root, picture_folder, tiny_encoder_folder)
    done: dict[str, tuple[Path, Ended]] = {}

    def undisturbed(name: str) -> tuple[Path, Ended]:
        if name not in done:
            folder = begin(name, root / name.replace(" ", "-"))
            ended = start(name, folder)
            assert ended.code == 0, (name, ended)
            done[name] = folder, ended
        return done[name]

    def begin(name: str, folder: Path) -> Path:
        """A folder in which a work may start."""
        if before := WORKS[name].start:
            shutil.copytree(undisturbed(before)[0], folder, symlinks=True)
        else:
            folder.mkdir()
            (folder / "inputs").symlink_to(root / "inputs")
        return folder

    undisturbed.begin = begin
    return undisturbed


def drawn(rng: np.random.Generator, ended: Ended) -> Blow:
    """A blow within a run that went as this one did."""
    touch = int(rng.integers(1, ended.touches + 1))
    manner = _MANNERS[rng.integers(len(_MANNERS))]
    if manner == "within a write":
        return Blow(signal.SIGXFSZ, touch, written=int(2 ** rng.uniform(0, 13)))
    if manner == "kill later":
        return Blow(signal.SIGKILL, touch, seconds=float(rng.uniform(0, 0.1 * ended.seconds)))
    return Blow(signal.Signals[manner] if manner != "kill" else signal.SIGKILL, touch)


def said_well(blow: Blow, ended: Ended) -> bool:
    """Whether a struck process ended as it should: silently, or with one line that says how."""
    if blow.number in (signal.SIGKILL, signal.SIGXFSZ):
        return ended.code == -blow.number
    if "Traceback" in ended.said or "Error" in ended.said:
        return False
    # Before it listens, and in commands that compute nothing, the system ends it.
    if blow.number == signal.SIGTERM and ended.code == -signal.SIGTERM:
        return True
    last = (ended.said.strip().splitlines() or [""])[-1]
    code = {signal.SIGTERM: 143, signal.SIGINT: 130}[blow.number]
    return ended.code == code and last.startswith("jaxcbm: ")


def struck(name: str, rng: np.random.Generator, start, whole, folder: Path) -> list[dict]:
    """Strike a work once or several times, run it to its end, and compare."""
    before, undisturbed = whole(name)
    whole.begin(name, folder)
    blows, ended, seconds = [], undisturbed, 0.0
    while not blows or rng.random() < 0.3:
        blow = drawn(rng, undisturbed)
        ended = start(name, folder, blow)
        seconds += ended.seconds
        if ended.code == 0:
            break  # it had less left to do, or wrote too little to be struck
        if not said_well(blow, ended):
            return [_told(name, blow, f"ended badly: {ended.code}: {ended.said[-2000:]}", seconds)]
        blows.append(blow)
    if ended.code:
        ended = start(name, folder)
        seconds += ended.seconds
    verdict = verdict_of(ended, left_by(before), left_by(folder))
    return [_told(name, blow, verdict, seconds / len(blows)) for blow in blows]


def verdict_of(ended: Ended, wanted: dict[str, bytes], found: dict[str, bytes]) -> str:
    lines = [line for line in ended.said.splitlines() if line.startswith("jaxcbm: error:")]
    if ended.code == 2 and len(lines) == 1 and "Traceback" not in ended.said:
        return "refused in one line"
    if ended.code or "Traceback" in ended.said:
        return f"ended with {ended.code}: {ended.said[-2000:]}"
    differ = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    return f"differ: {sorted(differ)}" if differ else "identical"


def _told(name: str, blow: Blow, verdict: str, seconds: float) -> dict:
    return {
        "command": name,
        "blow": str(blow),
        "verdict": verdict,
        "seconds": round(seconds, 2),
    }


def test_a_killed_command_goes_on_to_the_same_result(start, whole, tmp_path):
    """Without JAXCBM_FAULTS, one kill each of the two commands that are quickest."""
    names = ("encode", "concepts filter") if tries(0) == 0 else tuple(WORKS)
    kills(tries(2), names, start, whole, tmp_path)


def test_every_command_goes_on_to_the_same_result(start, whole, tmp_path):
    kills(tries(8), ("train", "sweep", "pretrain", "finetune"), start, whole, tmp_path)


def kills(wanted: int, names: tuple[str, ...], start, whole, tmp_path: Path) -> None:
    rows: list[dict] = []
    for number in range(10 * wanted):
        if len(rows) >= wanted:
            break
        rng = np.random.default_rng([SEED, number])
        folder = tmp_path / str(number)
        rows += struck(names[number % len(names)], rng, start, whole, folder)
        shutil.rmtree(folder)
    record("kills", SEED, rows)
    bad = [row for row in rows if row["verdict"] != "identical"]
    assert not bad and len(rows) >= wanted, bad
