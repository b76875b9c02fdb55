"""What changes under a work directory is said or refused, and never answered with other numbers."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from command_line import arguments, fails
from PIL import Image

from jaxcbm.cli import main

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
