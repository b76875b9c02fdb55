import csv
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from command_line import arguments, fails

import jaxcbm
from jaxcbm.cli import _parse, main
from jaxcbm.model.model import load_model


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
    after = json.loads((trained / "metrics.json").read_text())
    assert {name: after["test"][name] for name in before["test"]} == before["test"]
    # What takes another fit is measured here alone by default.
    assert before["not_measured"].keys() == {"random_top1"} and not after["not_measured"]
    assert after["test"].keys() - before["test"].keys() == {"random_top1", "unexplained"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predict_writes_every_format(trained, picture_folder, tmp_path, suffix):
    output, model = tmp_path / f"labels{suffix}", load_model(trained)
    # As if it had validation images enough to tell unfamiliar pictures.
    distances = np.linspace(0.0, 2.0 * model.familiarity.valid_distances[-1], 20, dtype=np.float32)
    model = replace(model, familiarity=replace(model.familiarity, valid_distances=distances))
    model.save(tmp_path / "model")
    argv = ["-q", "predict", f"--workdir={tmp_path}", f"--images={picture_folder}"]
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
    said = model.predict(sorted(picture_folder.rglob("*.png")))
    assert len(set(said.familiarity)) > 3
    for n, row in enumerate(rows):
        names = row["set"].split("; ") if suffix == ".csv" else row["set"]
        assert names[0] == row["label"] and len(names) == said.prediction_sets[n].sum()
        assert float(row["familiarity"]) == pytest.approx(said.familiarity[n], abs=1e-4)
        assert row["caution"] == said.cautions[n]
    for row in rows[::12]:
        why = [str(c) for c in model.explain(row["file"], k=5).contributions]
        told = row["reasons"].split("; ") if suffix == ".csv" else row["reasons"]
        assert told == why or (not why and told in ([], [""]))


def test_predictions_of_a_model_that_knows_no_train_images_leave_familiarity_empty(
    trained, picture_folder, tmp_path
):
    replace(load_model(trained), familiarity=None).save(tmp_path / "model")
    argv = ["-q", "predict", f"--workdir={tmp_path}", f"--images={picture_folder / 'blue'}"]
    for name in ("labels.csv", "labels.jsonl"):
        assert main([*argv, f"--output={tmp_path / name}"]) == 0
    with open(tmp_path / "labels.csv", newline="") as file:
        first = next(csv.DictReader(file))
    assert first["familiarity"] == "" and first["set"].count("; ") == 2
    assert '"familiarity": null' in (tmp_path / "labels.jsonl").read_text().splitlines()[0]


def test_training_again_is_a_no_op_and_another_config_is_refused(
    trained, picture_folder, tiny_encoder_folder, capsys
):
    phrases = trained.parent / "phrases.txt"
    argv = arguments(trained, picture_folder, phrases, tiny_encoder_folder)
    changed = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(argv) == 0
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == changed
    # Its main numbers and where the rest is, in few lines; `evaluate` prints all of them.
    top1 = json.loads((trained / "metrics.json").read_text())["test"]["top1"]
    said = capsys.readouterr().out.splitlines()
    assert f"  top-1 % {100 * top1:>6.1f}".split() in [line.split() for line in said]
    assert len(said) < 20 and f"every metric: {trained}/metrics.json" in said[-1]
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
        ([f"--config.data.root={'x' * 300}"], ["xxx", "too long"]),
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


def test_no_such_config(tmp_path, capsys):
    argv = ["train", "--config=nowhere", f"--workdir={tmp_path}"]
    fails(capsys, argv, "nowhere", "quickstart", "jaxcbm config")


@pytest.mark.parametrize(
    "argv,words",
    [
        ([], ["COMMAND"]),
        (["fly"], ["'fly'", "train"]),
        (["train", "--workdir=x"], ["--config", "jaxcbm train --help"]),
        (["train", "--config=quickstart", "--workdir=gs://x"], ["gs://x is no folder"]),
        (["predict", "--workdir=x", "--images=x", "--output=x.csv", "--top=-1"], ["'-1'", "0"]),
        (["predict", "--workdir=x", "--images=x", "--output=x/", "--format=xml"], ["'xml'", "csv"]),
        (["predict", "--workdir=x", "--images=x", "--output=x", "--shard-rows=0"], ["'0'", "1"]),
        (["predict", "--workdir=x", "--images=x", "--output=x", "--with=a"], ["'a'", "embeddings"]),
        (["predict", "--workdir=x", "--images=x", "--output=x.txt"], ["x.txt", ".parquet"]),
        (["explain", "--workdir=x", "--images=x", "--output=x.png", "-k=0"], ["'0'", "1"]),
        (["explain", "--workdir=x", "--images=x", "--output=x.gif"], [".png or .html"]),
        (["reproduce", "--dataset=birds", "--seeds=-1"], ["--seeds", "'-1'"]),
        (["reproduce", "--dataset=cats"], ["'cats'", "birds"]),
        (["sweep", "--config=quickstart", "--workdir=x", "--memory=nan"], ["--memory", "'nan'"]),
        (["sweep", "--config=quickstart", "--workdir=x", "--memory=-1"], ["--memory", "'-1'"]),
        (["plan", "--config=quickstart", "--price=nan"], ["--price", "'nan'"]),
        (["plan", "--config=quickstart", "--concept-count=-1"], ["--concept-count", "'-1'"]),
        (["concepts", "filter", "--per-class=-2"], ["--per-class", "'-2'"]),
        (["bench", "--output=speed.txt"], ["speed.txt", ".json"]),
        (["evaluate", "--workdir=x", "--colour"], ["--colour"]),
        (["evaluate", "--workdir=x", "--process=0"], ["--distributed"]),
    ],
)
def test_a_wrong_command_line_is_one_line(argv, words, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxcbm: error: ") and error.count("\n") == 1
    for word in words:
        assert word in error


def test_a_place_that_cannot_be_written_is_said_before_any_work(trained, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    argv = ["predict", f"--workdir={trained}", "--images=none"]
    fails(capsys, [*argv, f"--output={tmp_path / 'file' / 'a.csv'}"], "nothing can be written")
    fails(capsys, [*argv, f"--output={tmp_path / 'folder.csv'}"], "is a folder")


def test_an_output_in_a_folder_that_is_not_there(trained, picture_folder, tmp_path):
    picture = f"--images={picture_folder / 'blue' / '00.png'}"
    for command, name in (("predict", "labels.csv"), ("explain", "why.png")):
        output = tmp_path / command / "new" / name
        assert main([command, "-q", f"--workdir={trained}", picture, f"--output={output}"]) == 0
        assert output.is_file()


def test_a_folder_of_predictions_from_the_command_line(trained, picture_folder, tmp_path, capsys):
    argv = ["-q", "predict", f"--workdir={trained}", f"--images={picture_folder}"]
    argv += [f"--output={tmp_path}/out", "--format=jsonl", "--shard-rows=20", "--with=activations"]
    for _ in range(2):
        assert main([*argv, "--batch-size=16"]) == 0
        assert "36 pictures predicted" in capsys.readouterr().out
    files = sorted(path.name for path in (tmp_path / "out").glob("part-*"))
    assert files == [f"part-0000{n}-of-00002.jsonl" for n in (0, 1)]
    first = json.loads((tmp_path / "out" / files[0]).read_text().splitlines()[0])
    assert len(first["activations"]) == 3 and first["label"] in ("amber", "blue", "coral")
    fails(capsys, [*argv, "--batch-size=8"], "--batch-size=16, and not 8")


def test_saved_files_have_the_users_usual_permissions(trained):
    """safetensors, for one, writes files that nobody else may read."""
    usual = os.umask(0)
    os.umask(usual)
    for path in trained.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o777 if path.is_dir() else 0o666) & ~usual, path


@pytest.mark.parametrize("place", [0, 1])
def test_quiet_stands_before_or_after_the_command(place, trained, picture_folder, tmp_path, caplog):
    argv = ["predict", f"--workdir={trained}", f"--images={picture_folder}"]
    argv.insert(place, "-q")
    assert _parse([*argv, f"--output={tmp_path / 'a.csv'}"])[0].quiet


def test_the_command_that_is_written_down_can_be_pasted():
    argv = ["reproduce", "--dataset=birds", "--method=jaxcbm (default)"]
    assert shlex.split(_parse(argv)[0].command) == ["jaxcbm", *argv]


def test_version_and_python_m():
    for entry in ("jaxcbm", "jaxcbm.cli"):
        command = [sys.executable, "-m", entry, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == f"jaxcbm {jaxcbm.__version__}\n"


@pytest.mark.slow
def test_train_predict_and_explain_import_no_extra(
    tmp_path, picture_folder, tiny_encoder_folder, phrases
):
    """They run where nothing but the dependencies is installed; what needs an extra names it."""
    train = arguments(tmp_path / "run", picture_folder, phrases, tiny_encoder_folder)
    use = [f"--workdir={tmp_path / 'run'}", f"--images={picture_folder / 'blue'}"]
    code = f"""
import sys
extras = ["flatbuffers", "gcsfs", "grain", "openai", "pyarrow", "sentencepiece"]
unused = ["tensorflow_datasets", "tensorflow", "torch"]
sys.modules.update(dict.fromkeys([*extras, *unused]))
import jaxcbm
from jaxcbm.cli import _parse, main
assert main({train!r}) == 0
for command, name in (("predict", "a.csv"), ("predict", "a.jsonl"), ("explain", "a.html")):
    assert main(["-q", command, *{use!r}, f"--output={tmp_path}/{{name}}"]) == 0
assert main(["-q", "predict", *{use!r}, "--output={tmp_path}/a.parquet"]) == 2
assert main(["-q", "export", {use[0]!r}, "--output={tmp_path}/out"]) == 2
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 2 and "PyTorch" not in done.stderr + done.stdout
    for line, extra in zip(errors, ("parquet", "export"), strict=True):
        assert f"pip install 'jaxcbm[{extra}]'" in line


def test_a_folder_without_images(tmp_path, phrases, tiny_encoder_folder, capsys):
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    argv = arguments(tmp_path / "run", tmp_path / "empty", phrases, tiny_encoder_folder)
    fails(capsys, argv, str(tmp_path / "empty"))


def test_corrupt_pictures_are_skipped_counted_and_listed(
    tmp_path, picture_folder, phrases, tiny_encoder_folder, caplog
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
    listing = tmp_path / "run" / "skipped.jsonl"
    listed = listing.read_text()
    (said,) = (line for r in caplog.records if "cannot be read" in (line := r.getMessage()))
    assert said.endswith(f"; all are listed in {listing}")
    for name in ("amber/00.png", "blue/01.png", "coral/02.png"):
        assert name in listed and name in said
    caplog.clear()
    assert main(["evaluate", f"--workdir={tmp_path / 'run'}"]) == 0
    assert not any("cannot be read" in r.getMessage() for r in caplog.records)
    assert listing.read_text() == listed


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
