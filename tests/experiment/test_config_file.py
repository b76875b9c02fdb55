from pathlib import Path

import pytest

from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config, settle_workdir
from jaxcbm.experiment.pretrain import PretrainExperiment
from jaxcbm.typed_json import from_json

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", ["quickstart", "fashion_mnist", "folder", "cifar10"])
def test_every_shipped_config_is_an_experiment(name):
    experiment = read_experiment(read_config(str(CONFIGS / f"{name}.py")))
    assert experiment.training.epochs > 0


def test_the_shipped_pre_training_is_one():
    config = read_config(str(CONFIGS / "pretrain_tiny.py"))
    assert from_json(PretrainExperiment, config, "config").training.steps > 0


def test_overrides_are_typed():
    path = str(CONFIGS / "quickstart.py")
    config = read_config(
        path, ["--config.training.epochs=3", "--config.bottleneck.standardise=False"]
    )
    assert config["training"]["epochs"] == 3
    assert config["bottleneck"]["standardise"] is False


@pytest.mark.parametrize(
    "override,word",
    [
        ("--config.training.epoch=3", "epoch"),
        ("--config.training.epochs=three", "epochs"),
        ("--config.training.epochs", "="),
        ("--verbose=1", "--verbose"),
    ],
)
def test_wrong_overrides_say_which(override, word):
    with pytest.raises(UserError, match=word) as caught:
        read_config(str(CONFIGS / "quickstart.py"), [override])
    assert "\n" not in str(caught.value)


def test_a_fault_in_a_config_file_keeps_its_traceback(tmp_path):
    (tmp_path / "broken.py").write_text("def get_config():\n    return 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        read_config(str(tmp_path / "broken.py"))


def test_a_workdir_belongs_to_one_config(tmp_path):
    settle_workdir(tmp_path / "run", {"a": {"b": 1}})
    settle_workdir(tmp_path / "run", {"a": {"b": 1}})
    with pytest.raises(UserError, match=r"config\.a\.b is 1 there, 2 here"):
        settle_workdir(tmp_path / "run", {"a": {"b": 2}})


def test_every_literal_field_names_its_choices():
    with pytest.raises(UserError, match="'residual'"):
        read_experiment({"bottleneck": {"parameterisation": "diagonal"}})
