"""Every kind of file that the program writes, damaged, and then the command that reads it.

It ends as if nothing had happened or with one line; it never says other numbers. A few in the
workflow, of one run's files; as many as are asked for with

    JAXCBM_FAULTS=500 python -m pytest -m slow tests/faults/test_damages.py
"""

import contextlib
import difflib
import io
import os
import resource
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from damage import DAMAGES, Damage, remove, swap_value, tries
from record import record
from works import WORKS, Undisturbed, left_by

from jaxcbm.cli import main
from jaxcbm.data.store import feature_store
from jaxcbm.experiment import prepare

SEED = 0
LIMIT_SECONDS = 60


class Read(NamedTuple):
    """What is read again after the damage.

    Attributes:
        work: what wrote it.
        argv: the command that reads; () for the same once more.
        wanted: glob patterns of the files that it should make as they were.
        without: paths that a kill before the end has not come to write.
        said: whether its standard output is compared too.
    """

    work: str
    argv: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    said: bool = False


_RUN = ("run/model/*", "run/metrics.json*")
_LABELS = ("--images=inputs/pictures", "--output=labels.csv")
READS = {
    # Nobody reads its log any more.
    "finished run": Read("train", (), ("run/model/*", "run/metrics.json"), said=True),
    "unfinished run": Read("train", (), _RUN, ("run/model", "run/metrics.json")),
    "unfinished finetuning": Read(
        "finetune", (), _RUN, ("run/model", "run/metrics.json", "run/finetune/best.safetensors")
    ),
    "run, evaluated": Read("train", WORKS["evaluate"].argv, ("run/metrics.json",)),
    "run, predicted by": Read("train", WORKS["predict"].argv, ("labels.csv",)),
    "run, explained": Read("train", WORKS["explain"].argv, ("why.html",)),
    "run, edited": Read("train", WORKS["edit"].argv, ("edited/model/*",)),
    "run, exported": Read(
        "train",
        WORKS["export"].argv,
        ("exported/*.safetensors", "exported/model.json", "exported/program/weights.*"),
    ),
    "edit": Read("edit", ("predict", "--workdir=edited", *_LABELS), ("labels.csv",)),
    "export": Read("export", ("predict", "--workdir=exported", *_LABELS), ("labels.csv",)),
    "feature store": Read("encode", (), ("store/*/shard-*",), said=True),
    "pre-training": Read("pretrain", (), ("run/encoder/*",), ("run/encoder",)),
    "sweep": Read("sweep", (), ("run/sweep.json", "run/sweep.csv")),
    "table of methods": Read("reproduce", (), ("run/results-official.json",)),
    "result file": Read(
        "reproduce",
        ("report", "--results", "run/results-official.json", "--output=report"),
        ("report/report.csv",),
    ),
    "answers of a server": Read("concepts generate", (), ("phrases.json",)),
}


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Within, no call may take a minute, or two GiB more than there are."""
    status = Path("/proc/self/status").read_text()
    used = int(status.split("VmData:")[1].split()[0]) * 1024
    before = resource.getrlimit(resource.RLIMIT_DATA)

    def late(*_: object) -> None:
        raise TimeoutError("HANGS")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (used + 2 * 2**30, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def empty(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(b"")


def link_to_endless(file: Path, rng: np.random.Generator) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def written(folder: Path) -> list[Path]:
    """The files that the program has written, relative."""
    found = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in found if file.parts[0] != "inputs" and file.suffix != ".png")


def another(file: Path, folder: Path, others: Path, rng: np.random.Generator) -> str:
    """Put another file in its place: the same of another run, else another of its kind."""
    place = file.relative_to(folder)
    same = [others / place] if (others / place).is_file() else []
    kind = [other for other in others.rglob(f"*{file.suffix}") if other.is_file()]
    kind = [other for other in kind if "inputs" not in other.parts]
    choice = same or kind or [folder / "inputs" / "phrases.txt"]
    shutil.copy(choice[rng.integers(len(choice))], file)
    return "another run's file" if same else "another file"


def damaged(folder: Path, others: Path, rng: np.random.Generator) -> tuple[Path, str]:
    """Damage one file; which, and how."""
    files = written(folder)
    kinds = sorted({_kind(file) for file in files})
    kind = kinds[rng.integers(len(kinds))]
    files = [file for file in files if _kind(file) == kind]
    name = files[rng.integers(len(files))]
    how: list[Damage | None] = [*DAMAGES, empty, link_to_endless, None]
    how += [swap_value] if name.suffix == ".json" else []
    chosen = how[rng.integers(len(how))]
    content = (folder / name).read_bytes()
    if chosen is None or not content:
        return name, another(folder / name, folder, others, rng)
    chosen(folder / name, rng)
    return name, chosen.__name__.replace("_", " ")


def _kind(file: Path) -> str:
    """Of which kind a file is: names have numbers and hashes in them."""
    if "checkpoints" in file.parts:
        inside = file.parts[file.parts.index("checkpoints") + 2 :]
        return "checkpoints/" + ("d" if "d" in inside else inside[-1])
    folder = file.parent.name
    plain = folder not in ("runs", "splits") and len(folder) != 64 and len(folder) > 2
    stem = "*" if not plain or file.stem[-1].isdecimal() else file.stem
    return f"{folder if plain else '*'}/{stem}{file.suffix}"


def called(argv: list[str]) -> tuple[int, str, str]:
    """The exit code of a command here, what it printed, and what it said."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            with bounded():
                code = main(["-q", *argv])
        except BaseException:
            traceback.print_exc()
            code = 1
    return code, out.getvalue(), error.getvalue()


@pytest.fixture
def reading(undisturbed: Undisturbed, tmp_path, monkeypatch):
    """A name of `READS` -> a folder where its reader runs, and what it should give."""
    monkeypatch.setattr(
        prepare, "encode", lambda *a, **k: feature_store.encode(*a, shard_size=4, **k)
    )
    here, cache = tmp_path / "here", {}

    def begin(name: str) -> Path:
        os.chdir(tmp_path)
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(undisturbed.whole(READS[name].work)[0], here, symlinks=True)
        for path in READS[name].without:
            place = here / path
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        os.chdir(here)
        return here

    def argv(name: str) -> list[str]:
        return list(READS[name].argv) or undisturbed.argv(READS[name].work)

    def prepared(name: str):
        if name not in cache:
            begin(name)
            code, out, said = called(argv(name))
            assert code == 0, (name, said)
            cache[name] = out, left_by(here, READS[name].wanted)
        return begin(name), argv(name), cache[name]

    yield prepared
    os.chdir(tmp_path)


def verdict_of(name: str, file: Path, how: str, folder: Path, argv: list[str], wanted) -> str:
    code, out, said = called(argv)
    if code == 2:
        lines = [line for line in said.splitlines() if line.startswith("jaxcbm: error:")]
        return "refused in one line" if len(lines) == 1 and "Traceback" not in said else said
    if code or "Traceback" in said:
        return said[-3000:]
    printed, files = wanted
    if READS[name].said and out != printed:
        return f"printed otherwise: {out[-500:]}"
    found = left_by(folder, READS[name].wanted)
    for each in files:
        # Who deletes the log goes on without it.
        if (how, Path(each)) == (remove.__name__, file) and file.name == "metrics.jsonl":
            continue
        if found.get(each) != files[each]:
            lines = (
                given.decode("utf-8", "replace").splitlines(True)
                for given in (files[each], found.get(each, b""))
            )
            differ = "".join(difflib.unified_diff(*lines, "before", "after", n=0))
            return f"other content of {each}: {differ[:2000]}"
    return "identical"


# What Orbax leaves of a reading that failed is collected whenever Python gets to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_damaged_file_is_healed_or_refused(reading, undisturbed):
    count, rows, began = tries(8), [], time.monotonic()
    names = [name for name in READS if tries(0) or READS[name].work == "train"]
    others = undisturbed.other()
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        name = names[number % len(names)]
        folder, argv, wanted = reading(name)
        file, how = damaged(folder, others, rng)
        verdict = verdict_of(name, file, how, folder, argv, wanted)
        rows.append({"file": _kind(file), "damage": how, "read": name, "verdict": verdict})
        if verdict not in ("identical", "refused in one line"):
            print(number, file, rows[-1], flush=True)
        record("damages", SEED, rows, time.monotonic() - began)
    good = ("identical", "refused in one line")
    bad = [row for row in rows if row["verdict"] not in good]
    assert not bad, [{**row, "verdict": row["verdict"][-2000:]} for row in bad]
