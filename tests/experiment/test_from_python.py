"""What the commands do, from Python: configs in every form, and the same run for each."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import jaxcbm
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "folder.py"


@pytest.fixture(scope="module")
def config(picture_folder, tiny_encoder_folder, tmp_path_factory) -> dict:
    phrases = tmp_path_factory.mktemp("phrases") / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    return {
        "data": {"name": "folder", "root": str(picture_folder)},
        "encoder": {"name": str(tiny_encoder_folder)},
        "concepts": str(phrases),
        "features": str(phrases.parent / "features"),
        "training": {"epochs": 2},
        "sparse_head": {"path_length": 4},
    }


def test_every_form_of_a_config_is_the_same():
    want = read_experiment(read_config(str(FOLDER), ["--config.training.epochs=3"]))
    changes = {"training.epochs": 3}
    plain = asdict(read_experiment(FOLDER))
    for form in (FOLDER, str(FOLDER), plain, ConfigDict(plain), read_experiment(FOLDER)):
        assert read_experiment(form, changes) == want
    assert plain["training"]["epochs"] != 3, "what was handed in stays as it was"
    assert read_experiment(want) is want


@pytest.mark.parametrize(
    ("config", "changes", "said"),
    [
        ({"trainig": {}}, {}, r"config: trainig is unknown"),
        ({}, {"training.epoch": 3}, r"config: training.epoch is unknown"),
        ({}, {"training.epochs": "3"}, r"config: training.epochs must be a whole number"),
        ({"concepts": "birds"}, {"concepts.name": "cub"}, r"config.concepts has no fields"),
        ("no_such_config.py", {}, "no_such_config.py"),
        (7, {}, "a int is no config"),
    ],
)
def test_wrong_settings_are_one_line(config, changes, said):
    with pytest.raises(jaxcbm.UserError, match=said) as caught:
        read_experiment(config, changes)
    assert "\n" not in str(caught.value)


def test_train_and_evaluate(config, tmp_path):
    workdir = str(tmp_path / "run")
    metrics = jaxcbm.train(config, workdir, {"training.seed": 1})
    written = json.loads(Path(workdir, "metrics.json").read_text())
    assert written.items() >= json.loads(json.dumps(metrics)).items()
    assert jaxcbm.train(read_experiment(config, {"training.seed": 1}), workdir) == metrics
    with pytest.raises(jaxcbm.UserError, match=r"config\.training\.seed is 1 there, 0 here"):
        jaxcbm.train(config, workdir)
    assert jaxcbm.evaluate(workdir, controls=False)["test"] == metrics["test"]
    assert jaxcbm.load_model(workdir).classes == ("amber", "blue", "coral")


def test_prepare_search_and_sweep(config, tmp_path):
    prepared = jaxcbm.prepare(config, str(tmp_path), changes={"data.seed": 3})
    assert len(prepared.concepts) == 3 and sum(map(len, prepared.splits)) == 36
    rows = jaxcbm.search(config, ["a {} picture"], str(tmp_path / "search.json"))
    assert {row.method for row in rows} == {"zero-shot", "concept search"}
    assert json.loads((tmp_path / "search.json").read_text())["dataset"] == "folder"
    grid = {"training.cbl.learning_rate": [1e-4, 1e-2], "training.seed": range(2)}
    swept = jaxcbm.sweep(config, str(tmp_path / "sweep"), grid, changes={"mesh.data": 1})
    assert swept.about["runs"] == 4 and len(swept.ranked) == 2
    assert {own.setting["training.cbl.learning_rate"] for own in swept.ranked} == {1e-4, 1e-2}


def test_reproduce_one_method(config, tmp_path):
    file = jaxcbm.reproduce(config, str(tmp_path), seeds=1, methods=["linear probe"])
    assert json.loads(file.read_text())["protocol"] == "official"
