"""`jaxcbm reproduce` on a few birds: what it writes, does not run twice, and refuses."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxcbm.bottleneck.sparse.sized_heads import NEC_TARGETS
from jaxcbm.cli import main
from jaxcbm.code_version import this_code
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features, Splits
from jaxcbm.evaluation.results.file import read_result
from jaxcbm.experiment import reproduce
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.experiment.methods import DEFAULT, METHODS, table_of
from jaxcbm.experiment.study import Study
from jaxcbm.model.model import load_model
from jaxcbm.training.config import TrainingConfig

ROOT = Path(__file__).parents[2]
SETTINGS = [
    "--config.data.images_per_class=3",
    "--config.data.valid_fraction=0.34",
    "--config.training.epochs=2",
    "--config.training.batch_size=32",
    "--config.sparse_head.path_length=4",
    "--config.mesh.data=1",
]
ROWS = [DEFAULT, "Post-hoc CBM, text vectors", "linear probe", "zero-shot, templates"]


def command(workdir, *more):
    config = ROOT / "configs" / "quickstart.py"
    return ["-q", "reproduce", f"--config={config}", f"--workdir={workdir}", *SETTINGS, *more]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("reproduce") / "birds"
    arguments = command(workdir, "--seeds=2", *(f"--method={name}" for name in ROWS))
    assert main(arguments) == 0
    return workdir, arguments


@pytest.fixture(scope="module")
def result(reproduced):
    return read_result(reproduced[0] / "results-official.json")


def test_the_result_says_what_it_is_of(result):
    assert (result.dataset, result.protocol, result.seeds) == ("birds", "official", (0, 1))
    assert [row.name for row in result.rows] == ROWS
    given = [row.given for row in result.rows]
    assert given == [("labels", "annotations"), ("labels",), ("labels",), ()]
    assert sum((result.images.train, result.images.valid)) == 48 * 3
    assert result.seconds == pytest.approx(sum(sum(row.seconds) for row in result.rows))
    assert "reproduce" in result.command
    assert result.code == this_code()
    assert result.load.largest >= result.load.before >= 0 and result.load.cores >= 1


def test_rows_hold_a_value_a_seed_or_one(result):
    rows = {row.name: row for row in result.rows}
    assert len(rows[DEFAULT].metrics["top1"]) == 2
    assert len(rows["linear probe"].metrics["top1"]) == 1
    curve = rows[DEFAULT].nec_curve
    assert curve is not None and np.shape(curve.accuracies) == (2, len(NEC_TARGETS))
    np.testing.assert_allclose(rows[DEFAULT].metrics["anec"], np.mean(curve.accuracies, axis=1))
    assert rows["linear probe"].nec_curve is None
    expected = {"concept_auc", "ece", "random_top1", "concept_fidelity", "leakage_top1"}
    assert expected <= set(rows[DEFAULT].metrics)


def test_the_default_is_shown(result):
    assert result.class_weights is not None and len(result.class_weights.classes) == 48
    assert result.explanations is not None and len(result.explanations.images) == 12
    kinds = {(shown.values, shown.policy) for shown in result.interventions}
    assert len(kinds) == 10 and {("expert", "greedy"), ("expert", "carried")} <= kinds
    top1 = next(row for row in result.rows if row.name == DEFAULT).metrics["top1"]
    for shown in result.interventions:
        np.testing.assert_allclose([curve[0] for curve in shown.accuracies], top1, atol=1e-6)


@pytest.fixture(scope="module")
def trained(reproduced):
    """The default of the first seed by `jaxcbm train`, with the controls."""
    workdir = reproduced[0].parent / "trained"
    features = f"--config.features={reproduced[0] / 'features'}"
    config = f"--config={ROOT / 'configs' / 'quickstart.py'}"
    more = [*SETTINGS, features, "--config.evaluation.controls=True"]
    assert main(["-q", "train", config, f"--workdir={workdir}", *more]) == 0
    return workdir


def metrics_of(workdir):
    return json.loads((workdir / "metrics.json").read_text())


def test_train_measures_what_reproduce_does(trained, result):
    default = next(row for row in result.rows if row.name == DEFAULT)
    found = metrics_of(trained)
    at_nec = dict(
        zip((f"top1_at_nec_{n}" for n in NEC_TARGETS), default.nec_curve.accuracies[0], strict=True)
    )
    expected = {name: values[0] for name, values in default.metrics.items()} | at_nec
    assert found["test"] == pytest.approx(expected, abs=1e-6) and not found["not_measured"]
    for shown in result.interventions:
        curve = found["interventions"][shown.values][shown.policy]
        assert curve == pytest.approx(list(shown.accuracies[0]), abs=1e-6)


def test_evaluate_in_another_process_repeats_train(trained):
    before = metrics_of(trained)
    (trained / "metrics.json").unlink()
    command = "import sys; from jaxcbm.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "-q", "evaluate", f"--workdir={trained}"],
        env={**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    after = metrics_of(trained)
    assert after["test"] == pytest.approx(before["test"], abs=1e-6)
    assert after["interventions"] == before["interventions"]
    for words in ("top1_at_nec_30", "scaled_ece", "random_top1", "set by the expert"):
        assert words in done.stdout
    for name in ("calibration", "interventions", "nec_curve", "confusion"):
        assert (trained / "plots" / f"{name}.png").stat().st_size > 10_000


def test_evaluate_says_what_an_older_model_cannot_give(trained, tmp_path, capsys):
    """Models were once saved without their path."""
    shutil.copytree(trained, tmp_path / "old")
    replace(load_model(trained), sparse_path=None).save(tmp_path / "old" / "model")
    assert main(["-q", "evaluate", f"--workdir={tmp_path / 'old'}", "--no-controls"]) == 0
    told = capsys.readouterr().out
    assert "not measured: anec: the model was saved without its sparse path: train it again" in told
    assert "not measured: random_top1: takes another fit: `jaxcbm evaluate` does it" in told
    before, after = metrics_of(trained)["test"], metrics_of(tmp_path / "old")["test"]
    assert {name: before[name] for name in after} == pytest.approx(after)
    gone = before.keys() - after.keys()
    assert {"anec", "top1_at_nec_5", "random_top1"} <= gone and "ece" not in gone


def test_a_report_lies_beside_it(reproduced):
    assert {file.name for file in (reproduced[0] / "report").iterdir()} == {
        "report.md",
        "report.csv",
        "report.html",
    }


def test_finished_parts_are_not_run_again(reproduced, monkeypatch, result):
    workdir, arguments = reproduced

    def refuse(study, seed):
        raise AssertionError("ran again")

    for name in ROWS:
        monkeypatch.setitem(METHODS, name, METHODS[name]._replace(run=refuse))
    monkeypatch.setattr("jaxcbm.experiment.showcase.showcase", lambda *args: {})
    assert main(arguments) == 0
    again = read_result(workdir / "results-official.json")
    assert again.rows == result.rows


def test_another_setting_is_another_result(reproduced, tmp_path):
    """Parts are found by everything that they depend on."""
    workdir = shutil.copytree(reproduced[0], tmp_path / "birds")
    assert main(command(workdir, "--seeds=1", f"--method={ROWS[1]}")) == 0
    parts = {file.parent.name for file in workdir.glob("parts/*/*.json")}
    changed = "--config.training.seed=5"
    assert main(command(workdir, "--seeds=1", f"--method={ROWS[1]}", changed)) == 0
    assert len({file.parent.name for file in workdir.glob("parts/*/*.json")}) == len(parts) + 1


def test_parts_are_whole_and_nothing_else_lies_beside_them(reproduced):
    files = list(reproduced[0].glob("parts/*/*"))
    assert len(files) >= 2 * 1 + 3  # both seeds of the default, and the rows without a seed
    for file in files:
        assert file.suffix == ".json" and json.loads(file.read_text())["metrics"]


@pytest.mark.parametrize(
    "more, told",
    [
        (
            ["--method=magic"],
            "no method 'magic': choose among jaxcbm (default); jaxcbm (default), no",
        ),
        (["--seeds=0"], "--seeds: '0'"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, more, told):
    assert main(command(tmp_path / "x", *more)) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_the_pooled_protocol_goes_by_its_first_name_too(reproduced, monkeypatch):
    """A file says `released`, as files always did; both flags find the same finished parts."""
    workdir, _ = reproduced
    name = "zero-shot, templates"
    only = ("--seeds=1", f"--method={name}")
    assert main(command(workdir, *only, "--protocol=pooled")) == 0
    result = read_result(workdir / "results-released.json")
    assert result.protocol == "released"
    # Of 192 pooled images 80, 10 and 10 percent, each drawn anew.
    assert (result.images.train, result.images.valid, result.images.test) == (153, 19, 20)
    monkeypatch.setitem(METHODS, name, METHODS[name]._replace(run=None))
    assert main(command(workdir, *only, "--protocol=released")) == 0
    assert read_result(workdir / "results-released.json") == replace(
        result, command=read_result(workdir / "results-released.json").command
    )


PHRASES = ConceptSet.from_phrases(["beak", "tail"])


def test_rows_that_need_annotations_are_left_out_where_there_are_none():
    experiment = read_experiment(read_config(str(ROOT / "configs" / "quickstart.py")))

    def rows(**annotations):
        embeddings = np.eye(4, dtype=np.float32)[np.arange(6) % 4]
        part = Features.from_arrays(embeddings, np.arange(6) % 2, ["owl", "wren"], **annotations)
        nothing: Any = None
        texts = [np.zeros((2, 4))] * 3
        return table_of(Study(experiment, nothing, PHRASES, Splits(part, part, part), *texts))

    with_all = rows(annotations=np.eye(6, 2), annotation_phrases=("beak", "tail"))
    assert {*with_all} - {*rows()} == {
        f"{DEFAULT}, erasure",
        f"{DEFAULT}, no annotations",
        "VLG-CBM",
        "Post-hoc CBM, learned vectors",
        "Post-hoc CBM, SVM vectors",
    }
    assert {*rows()} < {*with_all} <= {*METHODS}
    for table, given in ((with_all, ("labels", "annotations")), (rows(), ("labels",))):
        assert table[DEFAULT].given == table["l1-CBM, paired"].given == given
        assert table["Label-free CBM"].given == ("labels",)
        assert table["zero-shot, templates"].given == ()
    supervised = {name for name, row in with_all.items() if "annotations" in row.given}
    assert {"VLG-CBM", "Post-hoc CBM, SVM vectors", DEFAULT} < supervised
    assert not {f"{DEFAULT}, no annotations", "Sparse-CBM, released", "CDM"} & supervised


PLAIN = asdict(TrainingConfig().cbl)


@pytest.mark.parametrize(
    "changes, stands_once",
    [
        ({}, False),
        ({"bottleneck.sampler": "identity"}, False),
        ({"bottleneck.sampler": "identity", "training.cbl": PLAIN}, True),
        ({"bottleneck.sampler": "sigmoid", "training.cbl": PLAIN}, False),
    ],
)
def test_the_default_takes_the_place_of_a_row_that_is_the_same_fit(changes, stands_once):
    experiment = read_experiment("quickstart", {"training.cbl": {"name": "sgd"}, **changes})
    nothing: Any = None
    part = Features.from_arrays(np.eye(2, 4, dtype=np.float32), [0, 1], ["owl", "wren"])
    texts = [np.zeros((2, 4))] * 3
    table = table_of(Study(experiment, nothing, PHRASES, Splits(part, part, part), *texts))
    assert ("Sigmoid-CBM, paired" not in table) == stands_once
    assert "Contrastive-CBM, paired" in table and "sampler" in table[DEFAULT].note


def test_controls_fit_the_row_that_they_stand_in(monkeypatch):
    from jaxcbm.experiment import fit_ours

    seen = []
    monkeypatch.setattr(fit_ours, "fit_on", lambda *given: seen.append(given))
    nothing: Any = None
    own, others = ConceptSet.from_phrases(["own"]), ConceptSet.from_phrases(["other"])
    part = Features.from_arrays(np.eye(2, 4, dtype=np.float32), [0, 1], ["owl", "wren"])
    splits, dealt = Splits(*[part] * 3), Splits(*[part.select([1])] * 3)
    study = Study(read_experiment("quickstart"), nothing, own, splits, *[nothing] * 3)
    rows = {name: METHODS[name] for name in (DEFAULT, "jaxcbm (default), erasure")}
    assert {name for name, row in METHODS.items() if row.controls} == set(rows)
    for row in rows.values():
        row.run(study, 3)
        reproduce._refit(row, study, 3, others, dealt)
    assert [(given[0].splits, given[2]) for given in seen] == [(splits, own), (dealt, others)] * 2
    plain, again, erased, erased_again = (config for _, config, _ in seen)
    assert plain == again
    assert (plain.sparse_head.erasure, erased.sparse_head.erasure) == (0.0, 1.0)
    assert erased == erased_again and erased.training == plain.training


def test_every_shipped_dataset_has_its_config():
    from jaxcbm.commands.reproduce import DATASETS
    from jaxcbm.experiment.config_file import shipped_configs

    assert set(DATASETS.values()) <= set(shipped_configs())


def test_another_seed_is_another_fit(result):
    default = next(row for row in result.rows if row.name == DEFAULT)
    assert default.metrics["nll"][0] != default.metrics["nll"][1]
