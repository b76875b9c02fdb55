import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from jaxcbm.cli import main
from jaxcbm.model.model import load_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def phrases(tmp_path):
    file = tmp_path / "phrases.txt"
    file.write_text("an amber glow\na blue tint\na coral hue\n\na blue tint\nsomething else\n")
    return file


def arguments(workdir, root, phrases, encoder, *more):
    return [
        "--quiet",
        "train",
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--workdir={workdir}",
        f"--config.data.root={root}",
        f"--config.concepts={phrases}",
        f"--config.encoder.name={encoder}",
        "--config.training.epochs=3",
        "--config.sparse_head.path_length=4",
        "--config.mesh.data=1",
        *more,
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, picture_folder, tiny_encoder_folder):
    folder = tmp_path_factory.mktemp("trained")
    phrases = folder / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    workdir = folder / "run"
    assert main(arguments(workdir, picture_folder, phrases, tiny_encoder_folder)) == 0
    return workdir


def fails(capsys, argv, *words):
    capsys.readouterr()
    assert main(argv) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()[-1:]) == 1 and "Traceback" not in error
    last = error.splitlines()[-1]
    assert last.startswith("jaxcbm: error:")
    for word in words:
        assert word in last, last


def test_training_leaves_everything(trained):
    for name in (
        "config.json",
        "metrics.json",
        "metrics.jsonl",
        "model/model.json",
        "model/model.safetensors",
        "plots/learning_curves.png",
        "plots/confusion.png",
        "plots/nec_curve.png",
        "plots/explanation.png",
        "checkpoints",
    ):
        assert (trained / name).exists(), name
    metrics = json.loads((trained / "metrics.json").read_text())
    assert 0.0 <= metrics["test"]["top1"] <= 1.0
    assert metrics["data"]["train"] + metrics["data"]["valid"] + metrics["data"]["test"] == 36


def test_evaluate_repeats_the_metrics(trained, capsys):
    before = json.loads((trained / "metrics.json").read_text())
    assert main(["-q", "evaluate", f"--workdir={trained}"]) == 0
    assert "top1" in capsys.readouterr().out
    assert json.loads((trained / "metrics.json").read_text())["test"] == before["test"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predict_writes_every_format(trained, picture_folder, tmp_path, suffix):
    output = tmp_path / f"labels{suffix}"
    argv = ["-q", "predict", f"--workdir={trained}", f"--images={picture_folder}"]
    assert main([*argv, f"--output={output}"]) == 0
    if suffix == ".csv":
        with open(output, newline="") as file:
            rows = list(csv.DictReader(file))
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in output.read_text().splitlines()]
    else:
        rows = pyarrow.parquet.read_table(output).to_pylist()
    assert len(rows) == 36
    assert {row["label"] for row in rows} <= {"amber", "blue", "coral"}
    assert all(0.0 <= float(row["probability"]) <= 1.0 for row in rows)


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_explain_draws(trained, picture_folder, tmp_path, suffix):
    output = tmp_path / f"why{suffix}"
    picture = picture_folder / "blue" / "00.png"
    argv = ["-q", "explain", f"--workdir={trained}", f"--images={picture}", f"--output={output}"]
    assert main(argv) == 0
    content = output.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<!doctype html>")
    assert list(tmp_path.iterdir()) == [output]


def test_contributions_add_up_to_the_logit_and_an_intervention_changes_it(trained, picture_folder):
    from PIL import Image

    model = load_model(trained)
    with Image.open(picture_folder / "coral" / "03.png") as picture:
        prediction = model.predict([picture])
        explanation = model.explain(picture, k=2)
        top = explanation.contributions[0].phrase if explanation.contributions else "a blue tint"
        moved = model.intervene(picture, {top: 50.0})
        same = model.intervene(picture, {})
    np.testing.assert_allclose(explanation.logit, prediction.class_logits.max(), atol=1e-4)
    np.testing.assert_allclose(same.class_logits, prediction.class_logits, atol=1e-5)
    assert model.head.any() == (not np.allclose(moved.class_logits, prediction.class_logits))


def test_training_again_is_a_no_op_and_another_config_is_refused(
    trained, picture_folder, tiny_encoder_folder, capsys
):
    phrases = trained.parent / "phrases.txt"
    argv = arguments(trained, picture_folder, phrases, tiny_encoder_folder)
    changed = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(argv) == 0
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == changed
    fails(capsys, [*argv, "--config.training.seed=7"], "another config", "training.seed", "7 here")


def test_help_teaches_and_imports_nothing_heavy():
    for command in ([], ["train"], ["predict"], ["pretrain"]):
        code = (
            "import sys\nfrom jaxcbm.cli import main\n"
            f"try: main({[*command, '--help']!r})\n"
            "except SystemExit as stop: assert stop.code == 0\n"
            "assert 'jax' not in sys.modules and 'transformers' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "usage: jaxcbm" in done.stdout
        assert not command or "example:" in done.stdout


@pytest.mark.parametrize(
    "change,words",
    [
        (["--config.data.root=/no/such/folder"], ["/no/such/folder"]),
        (["--config.data.root="], ["data.root"]),
        (["--config.concepts=/no/phrases.txt"], ["/no/phrases.txt"]),
        (["--config.encoder.name=/no/encoder"], ["/no/encoder"]),
        (["--config.training.epoch=3"], ["epoch"]),
        (["--config.training.epochs=many"], ["epochs"]),
        (["--config.bottleneck.objective=gumble"], ["gumble", "'gumbel'"]),
        (["--training.epochs=3"], ["--training.epochs=3"]),
        (["--config.mesh.data=64"], ["64 devices"]),
    ],
)
def test_bad_settings_are_one_line(
    change, words, tmp_path, picture_folder, phrases, tiny_encoder_folder, capsys
):
    argv = arguments(tmp_path / "run", picture_folder, phrases, tiny_encoder_folder, *change)
    fails(capsys, argv, *words)


def test_no_such_config_file(tmp_path, capsys):
    argv = ["train", "--config=nowhere.py", f"--workdir={tmp_path}"]
    fails(capsys, argv, "nowhere.py", "configs/")


def test_a_folder_without_images(tmp_path, phrases, tiny_encoder_folder, capsys):
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    argv = arguments(tmp_path / "run", tmp_path / "empty", phrases, tiny_encoder_folder)
    fails(capsys, argv, str(tmp_path / "empty"))


def test_corrupt_pictures_are_skipped_counted_and_listed(
    tmp_path, picture_folder, phrases, tiny_encoder_folder
):
    root = tmp_path / "pictures"
    shutil.copytree(picture_folder, root)
    (root / "amber" / "00.png").write_bytes(b"")
    (root / "blue" / "01.png").write_bytes(b"not a picture")
    whole = (root / "coral" / "02.png").read_bytes()
    (root / "coral" / "02.png").write_bytes(whole[: len(whole) // 2])
    assert main(arguments(tmp_path / "run", root, phrases, tiny_encoder_folder)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["data"]["skipped"] == 3
    listed = next((tmp_path / "run" / "features").rglob("skipped.jsonl")).read_text()
    for name in ("amber/00.png", "blue/01.png", "coral/02.png"):
        assert name in listed


def test_a_class_with_one_picture_trains(tmp_path, picture_folder, phrases, tiny_encoder_folder):
    root = tmp_path / "pictures"
    shutil.copytree(picture_folder, root)
    (root / "single").mkdir()
    shutil.copy(root / "amber" / "00.png", root / "single" / "only.png")
    (root / "amber" / "00.png").unlink()
    assert main(arguments(tmp_path / "run", root, phrases, tiny_encoder_folder)) == 0


def test_a_picture_in_two_classes_is_found(
    tmp_path, picture_folder, phrases, tiny_encoder_folder, capsys
):
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        shutil.copytree(picture_folder, root / split)
    argv = arguments(tmp_path / "run", root, phrases, tiny_encoder_folder)
    fails(capsys, argv, "test")


def test_no_model_no_output_and_no_pictures(trained, tmp_path, picture_folder, capsys):
    predict = ["predict", f"--images={picture_folder}", f"--output={tmp_path / 'out.csv'}"]
    fails(capsys, [*predict, f"--workdir={tmp_path / 'nothing'}"], "no finished model")
    fails(capsys, ["evaluate", f"--workdir={tmp_path}"], "no run in")
    odd = ["predict", f"--workdir={trained}", f"--images={picture_folder}", "--output=out.txt"]
    fails(capsys, odd, ".parquet")
    none = ["predict", f"--workdir={trained}", f"--images={tmp_path}", "--output=out.csv"]
    fails(capsys, none, "no pictures")
