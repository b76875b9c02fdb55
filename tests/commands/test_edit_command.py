"""`jaxcbm edit` on finished runs, in processes of its own and with mistakes."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command_line import arguments, fails

import jaxcbm
from jaxcbm.cli import main


def test_a_run_is_edited_and_edited_again(trained, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    flags = ["--delete=A blue  tint", "--merge=an amber glow + a coral hue = warm"]
    assert main(["-q", "edit", f"--workdir={trained}", f"--output={first}", *flags]) == 0
    said = capsys.readouterr().out
    for word in ("a blue tint deleted", "merged into warm", "certificate: within"):
        assert word in said
    model = jaxcbm.load_model(first)
    assert model.concepts.phrases == ("warm",)
    # The store of the first run serves: nothing is encoded again.
    assert sorted(path.name for path in first.iterdir()) == ["config.json", "model", "splits"]
    assert json.loads((first / "config.json").read_text())["features"] == str(trained / "features")
    hold = "--set=blue: warm = -0.25"
    assert main(["-q", "edit", f"--workdir={first}", f"--output={second}", hold]) == 0
    further = jaxcbm.load_model(second)
    assert len(further.edits) == 2 and further.edits[0] == model.edits[0]
    np.testing.assert_allclose(further.head[1, 0], -0.25, rtol=1e-5)


def test_in_processes_of_their_own_forgotten_pictures_may_be_deleted(
    tmp_path, phrases, picture_folder, tiny_encoder_folder
):
    names, output, page = (tmp_path / name for name in ("gone.txt", "edited", "why.html"))
    trained, pictures = tmp_path / "run", tmp_path / "pictures"
    shutil.copytree(picture_folder, pictures)
    assert main(arguments(trained, pictures, phrases, tiny_encoder_folder)) == 0
    names.write_text("amber/03.png\n\ncoral/00.png\n")
    picture = pictures / "amber" / "00.png"

    def command(*argv) -> str:
        argv = [sys.executable, "-m", "jaxcbm", *map(str, argv)]
        run = subprocess.run(argv, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    flags = [f"--workdir={trained}", f"--output={output}", f"--forget=@{names}"]
    said = command("edit", *flags, "--add=a new thing")
    assert "2 images forgotten by the head, not by the layer" in said
    for name in ("amber/03.png", "coral/00.png"):
        (pictures / name).unlink()
    assert "not measured: anec: the edit solved one head" in command(
        "evaluate", f"--workdir={output}", "--no-controls"
    )
    before, after = (
        json.loads((folder / "metrics.json").read_text())["data"] for folder in (trained, output)
    )
    # A picture of the test split would have been refused.
    assert sum(before[part] - after[part] for part in ("train", "valid")) == 2
    command("explain", f"--workdir={output}", f"--images={picture}", f"--output={page}")
    assert "a new thing added" in page.read_text()


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
