"""What other people and jobs do to files while a command runs: it skips and lists, or says so."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from damage import tries
from forked import Blow
from works import Undisturbed, left_by

PICTURES, ONE = Path("inputs/pictures"), Path("inputs/pictures/blue/07.png")


def _class_gone() -> None:
    shutil.rmtree(ONE.parent)


def _picture_gone() -> None:
    ONE.unlink()


def _picture_replaced() -> None:
    shutil.copy(PICTURES / "coral" / "00.png", ".other")
    os.replace(".other", ONE)


def _model_gone() -> None:
    shutil.rmtree("run/model")


def _store_gone() -> None:
    shutil.rmtree("features")


def _shards_cut() -> None:
    for shard in Path("features").rglob("*.npy"):
        os.truncate(shard, shard.stat().st_size - 4)


def _read_only() -> None:
    for place in [Path(), *(path for path in Path().rglob("*") if path.is_dir())]:
        place.chmod(0o555)


class Case(NamedTuple):
    """One thing that happens.

    Attributes:
        work: the command.
        does: what is done.
        opened: at an opening of a file in here; "" for a touch of any.
        moments: the first and the last.
    """

    work: str
    does: Callable[[], None]
    opened: str
    moments: tuple[int, int]


# `encode` opens each of 36 pictures for its digest, then for its pixels, and for its digest again.
CASES = [
    Case("encode", _class_gone, "inputs/pictures", (1, 108)),
    Case("encode", _picture_replaced, "inputs/pictures", (37, 108)),
    Case("encode", _read_only, "", (1, 20)),
    Case("predict", _class_gone, "inputs/pictures", (1, 36)),
    Case("predict", _read_only, "", (1, 7)),
    Case("train", _store_gone, "features", (20, 60)),
]
if tries(0):
    CASES += [
        Case("encode", _picture_gone, "inputs/pictures", (1, 108)),
        Case("predict", _picture_gone, "inputs/pictures", (1, 36)),
        Case("predict", _model_gone, "run/model", (1, 8)),
        Case("predict", _model_gone, "inputs/pictures", (1, 36)),
        Case("train", _shards_cut, "features", (20, 60)),
        Case("train", _read_only, "", (1, 300)),
    ]


def _name(case: Case) -> str:
    return f"{case.work}{case.does.__name__}-{case.opened}"


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_what_changes_on_the_way(case: Case, undisturbed: Undisturbed, tmp_path):
    """JAXCBM_FAULTS says at how many moments, and asks for more cases."""
    before, _ = undisturbed.whole(case.work)
    whole = left_by(before)
    for number in range(tries(1)):
        rng = np.random.default_rng(number)
        folder = undisturbed.begin(case.work, tmp_path / str(number))
        _own_inputs(folder, undisturbed.root)
        moment = int(rng.integers(case.moments[0], case.moments[1] + 1))
        blow = Blow(0, moment, does=case.does, opened=case.opened)
        ended = undisturbed.start(case.work, folder, blow)
        lines = [line for line in ended.said.splitlines() if line.startswith("jaxcbm: error:")]
        about = (str(blow), ended)
        assert "Traceback" not in ended.said and "Warning" not in ended.said, about
        assert (ended.code, len(lines)) in ((0, 0), (2, 1)), about
        if ended.code == 0:
            _listed(whole, left_by(folder), about)
        _mend(folder, undisturbed, case)
        again = undisturbed.start(case.work, folder)
        # A shard that another took the place of stays in a store, and nobody reads it.
        assert again.code == 0 and whole.items() <= left_by(folder).items(), (*about, again)


def _own_inputs(folder: Path, root: Path) -> None:
    (folder / "inputs").unlink(missing_ok=True)
    shutil.copytree(root / "inputs", folder / "inputs")


def _listed(whole: dict[str, bytes], found: dict[str, bytes], about: tuple) -> None:
    """What is missing of a result is listed, and of the rest nothing is another."""
    lists = [text for name, text in found.items() if name.endswith("skipped.jsonl")]
    lines = [json.loads(line) for text in lists for line in text.splitlines()]
    gone = {line.get("file", line.get("image")) for line in lines}
    assert len(gone) == len(lines) and all("blue/" in name for name in gone), about
    for name, content in whole.items():
        if name == "labels.csv":
            rows = [row for row in content.splitlines() if not _is_of(row, gone)]
            assert found[name].splitlines() == rows, about
        elif not gone and not name.startswith("run/model/"):
            assert found[name] == content, (name, *about)


def _is_of(row: bytes, gone: set[str]) -> bool:
    return any(row.startswith(name.encode()) for name in gone)


def _mend(folder: Path, undisturbed: Undisturbed, case: Case) -> None:
    for place in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        place.chmod(0o755)
    shutil.rmtree(folder / "inputs")
    _own_inputs(folder, undisturbed.root)
    if case.does is _model_gone:
        shutil.copytree(
            undisturbed.whole("train")[0] / "run" / "model",
            folder / "run" / "model",
            dirs_exist_ok=True,
        )
