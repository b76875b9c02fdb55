"""`jaxcbm explore`: a page of the test split, of own pictures, and of two runs."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
from command_line import fails

from jaxcbm.cli import main
from jaxcbm.experiment.explore import explore
from jaxcbm.model.model import load_model


def payload_in(file) -> dict:
    text = file.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="explorer-payload">(.*?)</script>', text, re.S)[1])


def numbers(packed) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(packed["data"]), np.dtype(packed["dtype"]))
    return data.reshape(packed["shape"])


def test_the_test_split_of_a_run(trained, tmp_path, capsys):
    page = tmp_path / "explorer.html"
    argv = ["-q", "explore", f"--workdir={trained}", f"--output={page}", "--maps=1"]
    assert main(argv) == 0
    said = capsys.readouterr().out
    found = payload_in(page)
    test = json.loads((trained / "metrics.json").read_text())["test"]
    assert len(found["names"]) == test["images"] and said.startswith(
        f"{test['images']:.0f} pictures, "
    )
    (part,) = found["models"]
    stored = {name: numbers(x) for name, x in part["activations"].items()}
    activations = stored["low"] + stored["step"] * stored["levels"]
    model = load_model(trained)
    logits = activations @ model.head.T + numbers(part["bias"])
    right = logits.argmax(1) == numbers(found["labels"])
    assert right.mean() == pytest.approx(test["top1"])
    assert len(part["maps"]) <= 1 and list(tmp_path.iterdir()) == [page]


def test_own_pictures_with_a_broken_one(trained, picture_folder, tmp_path, capsys, caplog):
    folder = shutil.copytree(picture_folder, tmp_path / "pictures")
    (folder / "amber" / "00.png").write_bytes(b"not a picture")
    found = explore(trained, tmp_path / "own.html", images=str(folder), limit=30)
    assert (found.pictures, found.of) == (29, 36) and "amber/00.png" in caplog.text
    payload = payload_in(tmp_path / "own.html")
    model = load_model(trained)
    labels = [model.classes[k] for k in numbers(payload["labels"])]
    assert all(f"/{label}/" in name for label, name in zip(labels, payload["names"], strict=True))


def test_two_runs_on_the_pictures_that_both_have(trained, tmp_path):
    explore(trained, tmp_path / "both.html", against=trained, limit=5)
    payload = payload_in(tmp_path / "both.html")
    first, second = payload["models"]
    assert len(payload["names"]) == 5
    assert first["activations"] == second["activations"]


def test_mistakes_are_one_line(trained, picture_folder, tmp_path, capsys):
    argv = ["-q", "explore", f"--workdir={tmp_path / 'none'}", f"--output={tmp_path / 'e.html'}"]
    fails(capsys, argv, "no run in")
    own = [*argv[:2], f"--workdir={trained}", argv[3], f"--images={picture_folder}"]
    fails(capsys, [*own, f"--against={trained}"], "--against", "--images")
    fails(capsys, [*argv[:3], "--output=e.txt"], ".html")
    assert not (tmp_path / "e.html").exists()
