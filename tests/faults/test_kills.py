"""Every command that writes, killed at random moments and started again: to the last bit the same.

Two kills in the workflow; as many as are asked for, over all commands, with

    JAXCBM_FAULTS=100 python -m pytest -m slow tests/faults/test_kills.py
"""

import shutil
import signal
import time
from pathlib import Path

import numpy as np
from damage import tries
from forked import Blow, Ended
from record import record
from works import WORKS, Undisturbed, left_by

SEED = 0
# How the blows fall: half are the hardest, and half of these in the middle of a write.
_MANNERS = ("kill", "kill later", "within a write", "within a write", "SIGTERM", "SIGINT")


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


def struck(name: str, rng: np.random.Generator, works: Undisturbed, folder: Path) -> list[dict]:
    """Strike a work once or several times, run it to its end, and compare."""
    before, usual = works.whole(name)
    works.begin(name, folder)
    blows, ended, seconds = [], usual, 0.0
    while not blows or rng.random() < 0.3:
        blow = drawn(rng, usual)
        ended = works.start(name, folder, blow)
        seconds += ended.seconds
        if ended.code == 0:
            break  # it had less left to do, or wrote too little to be struck
        if not said_well(blow, ended):
            return [_told(name, blow, f"ended badly: {ended.code}: {ended.said[-2000:]}", seconds)]
        blows.append(blow)
    if ended.code:
        ended = works.start(name, folder)
        seconds += ended.seconds
    verdict = verdict_of(ended, left_by(before), left_by(folder))
    return [_told(name, blow, verdict, seconds / len(blows)) for blow in blows]


def verdict_of(ended: Ended, wanted: dict[str, bytes], found: dict[str, bytes]) -> str:
    lines = [line for line in ended.said.splitlines() if line.startswith("jaxcbm: error:")]
    differ = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    if ended.code == 2 and len(lines) == 1 and "Traceback" not in ended.said:
        # The blow fell after the last touch of a folder that is written once: it was done.
        done = not differ and "is there already" in lines[0]
        return "identical" if done else "refused in one line"
    if ended.code or "Traceback" in ended.said:
        return f"ended with {ended.code}: {ended.said[-2000:]}"
    return f"differ: {sorted(differ)}" if differ else "identical"


def _told(name: str, blow: Blow, verdict: str, seconds: float) -> dict:
    return {
        "command": name,
        "blow": str(blow),
        "verdict": verdict,
        "seconds": round(seconds, 2),
    }


def test_a_killed_command_goes_on_to_the_same_result(undisturbed: Undisturbed, tmp_path):
    names = tuple(WORKS) if tries(0) else ("encode", "train")
    wanted = tries(2)
    rows: list[dict] = []
    began = time.monotonic()
    for number in range(10 * wanted):
        if len(rows) >= wanted:
            break
        rng = np.random.default_rng([SEED, number])
        folder = tmp_path / str(number)
        rows += struck(names[number % len(names)], rng, undisturbed, folder)
        shutil.rmtree(folder)
        record("kills", SEED, rows, time.monotonic() - began)
    bad = [row for row in rows if row["verdict"] != "identical"]
    assert not bad and len(rows) >= wanted, bad
