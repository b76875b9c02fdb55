"""What changes under a work directory is said or refused, and never answered with other numbers."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import ROOT, arguments, fails
from damage import DAMAGES, remove, restore, swap_value, tries
from PIL import Image

from jaxcbm.cli import main
from jaxcbm.errors import UserError
from jaxcbm.experiment.workdir_lock import LOCK_FILE, hold

# Paths in a config are relative, so that a copy of it all is the same run.
COMMAND = arguments("run", "pictures", "phrases.txt", "encoder")


@pytest.fixture(scope="module")
def begun(picture_folder, tiny_encoder_folder, tmp_path_factory):
    """A finished run on pictures of its own, to be copied and changed."""
    place = tmp_path_factory.mktemp("begun")
    shutil.copytree(picture_folder, place / "pictures")
    (place / "phrases.txt").write_text("red wings\nblue crown\namber bill\na tail\n")
    shutil.copytree(tiny_encoder_folder, place / "encoder")
    with contextlib.chdir(place):
        assert main(COMMAND) == 0
    return place


@pytest.fixture
def run(begun, tmp_path, monkeypatch):
    shutil.copytree(begun, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def classes(run: Path) -> list[str]:
    return sorted(folder.name for folder in (run / "pictures").iterdir())


def unfinished(run: Path) -> None:
    """As a kill between the last checkpoint and the model leaves it."""
    shutil.rmtree(run / "run" / "model")
    (run / "run" / "metrics.json").unlink()


def test_other_phrases_are_not_the_weights_own(run, capsys):
    lines = (run / "phrases.txt").read_text().splitlines()
    (run / "phrases.txt").write_text("\n".join([*lines[:-1], "something else"]))
    fails(capsys, COMMAND, "finished", "other phrases")
    unfinished(run)
    fails(capsys, COMMAND, "was begun with phrases=")


def test_a_phrase_more(run, capsys):
    unfinished(run)
    with open(run / "phrases.txt", "a") as file:
        file.write("\nsomething else\n")
    fails(capsys, COMMAND, "was begun with phrases=")


def test_a_class_renamed_before_evaluating(run, capsys):
    before = (run / "run" / "metrics.json").read_text()
    first = classes(run)[0]
    (run / "pictures" / first).rename(run / "pictures" / "zebra")
    fails(capsys, ["-q", "evaluate", "--workdir=run"], f"gone: {first}; new: zebra")
    assert (run / "run" / "metrics.json").read_text() == before


def test_two_classes_that_change_names(run, capsys):
    one, other, *_ = (run / "pictures" / name for name in classes(run))
    one.rename(run / "aside")
    other.rename(one)
    (run / "aside").rename(other)
    said = f"was {one.name!r} when it began, now it is {other.name!r}"
    fails(capsys, ["-q", "evaluate", "--workdir=run"], said)
    unfinished(run)
    fails(capsys, COMMAND, said)


def test_pictures_that_came_later_are_no_test_pictures(run, caplog):
    before = json.loads((run / "run" / "metrics.json").read_text())
    for name in classes(run):
        for n in range(5):
            Image.new("RGB", (9, 9), (n * 40, 90, len(name))).save(
                run / "pictures" / name / f"a{n}.png"
            )
    assert main(["evaluate", "--workdir=run", "--no-controls"]) == 0
    assert any("15 pictures came after run began" in r.getMessage() for r in caplog.records)
    after = json.loads((run / "run" / "metrics.json").read_text())
    assert after["data"] == before["data"]
    assert {name: after["test"][name] for name in before["test"]} == before["test"]


def test_a_test_picture_that_is_gone(run, capsys):
    for file in (run / "pictures" / classes(run)[0]).iterdir():
        if file.name != "00.png":
            file.unlink()
    fails(capsys, ["-q", "evaluate", "--workdir=run"], "is gone")


def test_a_split_that_is_damaged(run, capsys):
    (file,) = (run / "run" / "splits").iterdir()
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    fails(capsys, ["-q", "evaluate", "--workdir=run"], file.name, "damaged")


def test_an_encoder_with_other_weights_under_the_same_name(run, capsys):
    file = run / "encoder" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 64
    file.write_bytes(bytes(content))
    fails(capsys, ["-q", "evaluate", "--workdir=run"], "not what")
    unfinished(run)
    fails(capsys, COMMAND, "was begun with")


# What Orbax leaves of a reading that failed is collected whenever Python gets to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_unfinished_run_ends_as_it_would_have_or_in_one_line(run, capsys):
    """JAXCBM_FAULTS=320 makes as many tries as the first attack did."""
    whole = json.loads((run / "run" / "metrics.json").read_text())
    log = (run / "run" / "metrics.jsonl").read_text()
    unfinished(run)
    shutil.copytree(run / "run", run / "kept")
    files = sorted(file for file in (run / "kept").rglob("*") if file.is_file())
    files = [file for file in files if "plots" not in file.parts and "features" not in file.parts]
    refused = 0
    for seed in range(tries(12)):
        rng = np.random.default_rng(seed)
        restore(run / "run", run / "kept")
        name = files[rng.integers(len(files))].relative_to(run / "kept")
        how = (*DAMAGES, swap_value) if name.suffix == ".json" else DAMAGES
        damage = how[rng.integers(len(how))]
        damage(run / "run" / name, rng)
        capsys.readouterr()
        code = main(COMMAND)
        said = capsys.readouterr().err.strip().splitlines()
        if code == 2:
            assert said[-1].startswith("jaxcbm: error:") and "Traceback" not in said, (seed, said)
            refused += 1
            continue
        assert code == 0, (seed, name, said)
        after = json.loads((run / "run" / "metrics.json").read_text())
        assert after["test"] == whole["test"], (seed, name)
        # Who deletes the log goes on without it.
        if (damage, name.name) != (remove, "metrics.jsonl"):
            assert (run / "run" / "metrics.jsonl").read_text() == log, (seed, name)
    assert refused > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_in_the_newest_checkpoint_takes_the_one_before(run, caplog):
    shutil.rmtree(run / "run")
    assert main([*COMMAND, "--config.training.checkpoint_every=1"]) == 0
    whole = json.loads((run / "run" / "metrics.json").read_text())
    unfinished(run)
    steps = sorted((run / "run" / "checkpoints").iterdir(), key=lambda step: int(step.name))
    assert len(steps) == 2
    # Orbax keeps the arrays' bytes in folders called d.
    data = max(steps[-1].rglob("d/*"), key=lambda file: file.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 16
    data.write_bytes(bytes(content))
    loud = [word for word in COMMAND if word != "--quiet"]
    assert main([*loud, "--config.training.checkpoint_every=1"]) == 0
    assert any(f"checkpoint {steps[-1].name} of" in r.getMessage() for r in caplog.records)
    assert json.loads((run / "run" / "metrics.json").read_text())["test"] == whole["test"]


def test_a_second_run_in_one_work_directory_is_told_who_is_there(run, capsys):
    unfinished(run)
    with hold(Path("run")):
        fails(capsys, COMMAND, f"in use by process {os.getpid()} on", "since")
    assert main(COMMAND) == 0


def test_the_lock_of_a_dead_process_is_taken_over(run):
    unfinished(run)
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from jaxcbm.experiment.workdir_lock import hold;"
        "lock = hold(Path('run')); lock.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", code], env=env, check=False)
    assert died.returncode == -signal.SIGKILL and Path("run", LOCK_FILE).exists()
    assert main(COMMAND) == 0
    assert not Path("run", LOCK_FILE).exists()


def test_another_machine_is_believed_until_it_is_silent_for_long(run):
    said = {"pid": 1, "machine": "elsewhere", "started": "1", "host": "pod-7", "since": "now"}
    lock = Path("run", LOCK_FILE)
    lock.write_text(json.dumps(said))
    with pytest.raises(UserError, match="process 1 on pod-7 since now"), hold(Path("run")):
        pass
    past = lock.stat().st_mtime - 1000
    os.utime(lock, (past, past))
    with hold(Path("run")):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def another_takes_over(lock: Path) -> str:
    other = json.dumps({"pid": 7, "machine": "elsewhere", "host": "pod-7", "since": "now"})
    lock.unlink()
    lock.write_text(other)
    return other


def test_a_holder_that_slept_leaves_its_successors_lock(tmp_path):
    with hold(tmp_path):
        other = another_takes_over(tmp_path / LOCK_FILE)
    assert [file.name for file in tmp_path.iterdir()] == [LOCK_FILE]
    assert (tmp_path / LOCK_FILE).read_text() == other


def test_a_holder_that_wakes_up_beside_its_successor_ends(tmp_path):
    code = (
        "import time; from pathlib import Path; from jaxcbm.experiment import workdir_lock as lock;"
        "lock._BEAT = 0.05; holding = lock.hold(Path('.')); holding.__enter__();"
        "print('held', flush=True); time.sleep(60)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=env, cwd=tmp_path, **how) as process:
        assert process.stdout.readline() == "held\n"
        other = another_takes_over(tmp_path / LOCK_FILE)
        _, said = process.communicate(timeout=50)
    assert process.returncode == 2
    assert said.endswith("was taken over by process 7 on pod-7 since now\n")
    assert (tmp_path / LOCK_FILE).read_text() == other


def test_a_place_without_links_is_refused_by_name(tmp_path, monkeypatch):
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(UserError, match=r"cannot lock --workdir=.*hard links"), hold(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_bucket_is_no_work_directory_from_python_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no folder of a file system"), hold(Path("gs://b/run")):
        pass
    assert not list(tmp_path.iterdir())


def test_a_root_that_is_too_long_leaves_the_work_directory_free(run, capsys):
    long = [word if "data.root" not in word else f"{word}{'x' * 300}" for word in COMMAND]
    long = [word if "--workdir" not in word else "--workdir=new" for word in long]
    fails(capsys, long, "too long")
    assert not list(Path("new").iterdir())
