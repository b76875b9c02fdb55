"""`jaxcbm edit` on finished runs, in processes of its own and with mistakes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from command_line import fails

import jaxcbm
from jaxcbm.cli import main

PHRASES = ["an amber glow", "a blue tint", "a coral hue"]


def command(*argv) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jaxcbm", *map(str, argv)], capture_output=True, text=True
    )


def test_edit_evaluate_and_edit_again(trained, tmp_path, picture_folder):
    names = tmp_path / "gone.txt"
    names.write_text("amber/03.png\n\ncoral/00.png\n")
    first, second = tmp_path / "first", tmp_path / "second"
    flags = ["--delete=A blue  tint", "--add=something else", f"--forget=@{names}"]
    run = command("edit", f"--workdir={trained}", f"--output={first}", *flags)
    assert run.returncode == 0, run.stderr
    for word in ("a blue tint deleted", "something else added", "2 images", "certificate: within"):
        assert word in run.stdout
    model = jaxcbm.load_model(first)
    assert model.concepts.phrases == ("an amber glow", "a coral hue", "something else")
    # The store of the first run serves: nothing is encoded again.
    assert sorted(path.name for path in first.iterdir()) == ["config.json", "model"]
    assert json.loads((first / "config.json").read_text())["features"] == str(trained / "features")
    metrics = jaxcbm.evaluate(first, controls=False)
    before = json.loads((trained / "metrics.json").read_text())
    lost = sum(before["data"][part] - metrics["data"][part] for part in ("train", "valid"))
    # A picture of the test split would have been refused.
    assert lost == 2 and metrics["not_measured"]["anec"].startswith("the edit solved one head")

    hold = "--set=blue: an amber glow = -0.25"
    assert main(["-q", "edit", f"--workdir={first}", f"--output={second}", hold]) == 0
    further = jaxcbm.load_model(second)
    assert len(further.edits) == 2 and further.edits[0] == model.edits[0]
    np.testing.assert_allclose(further.head[1, 0], -0.25, rtol=1e-5)
    shown, picture = tmp_path / "why.html", picture_folder / "amber" / "00.png"
    flags = [f"--workdir={second}", f"--images={picture}", f"--output={shown}"]
    assert main(["-q", "explain", *flags]) == 0
    assert "held at -0.25" in shown.read_text()

@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["nothing to edit"]),
        (["--delete=a blue tin"], ["'a blue tin'", "the closest are 'a blue tint'"]),
        (["--set=azure:a blue tint=1"], ["'azure' is not a class"]),
        (["--set=blue a blue tint=1"], ["CLASS:PHRASE=WEIGHT"]),
        (["--set=blue:a blue tint=much"], ["'much' is no number"]),
        (["--merge=a blue tint=x"], ["A+B=PHRASE"]),
        (["--forget=amber/99.png"], ["'amber/99.png' is not an image", "amber/09.png"]),
        (["--forget=@nowhere.txt"], ["nowhere.txt cannot be read"]),
        (["--path", "--delete=a blue tint", "--add=a coral hue"], ["in the concept set already"]),
    ],
)
def test_mistakes(flags, words, trained, tmp_path, capsys):
    argv = ["edit", f"--workdir={trained}", f"--output={tmp_path / 'y'}", *flags]
    fails(capsys, argv, *words)
    assert not (tmp_path / "y").exists()


def test_mistaken_folders(trained, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    what = "--delete=a blue tint"
    fails(capsys, ["edit", f"--workdir={trained}", f"--output={there}", what], "is there already")
    fails(capsys, ["edit", f"--workdir={there}", f"--output={tmp_path / 'y'}", what], "no run in")
    # An exported model has no images to solve its head on.
    model = trained / "model"
    fails(capsys, ["edit", f"--workdir={model}", f"--output={tmp_path / 'y'}", what], "no run in")
