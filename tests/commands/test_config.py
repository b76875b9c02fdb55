"""`jaxcbm config`: what it prints is all there is to set, and can be given back."""

import shlex

import pytest

from jaxcbm.cli import main
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.config_file import read_config, shipped_configs
from jaxcbm.experiment.pretrain import PretrainExperiment
from jaxcbm.typed_json import settings_of


def lines(capsys, *arguments):
    assert main(["config", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_list_has_every_config_with_the_first_line_of_its_docstring(capsys):
    said = lines(capsys)
    for name, path in shipped_configs().items():
        line = next(line for line in said if line.split(" ")[0] == name)
        first = path.read_text().split("\n")[0]
        assert first.lstrip('r"').rstrip('"') == line.removeprefix(name).strip()


@pytest.mark.parametrize("name", ["quickstart", "finetune_birds", "pretrain_tiny"])
def test_every_setting_is_listed_and_can_be_given_back(name, capsys):
    printed = [line for line in lines(capsys, name) if line.startswith("--")]
    overrides = [shlex.split(line)[0] for line in printed]
    config = read_config(name)
    assert read_config(name, overrides) == config
    assert len(overrides) == count_leaves(config)


def count_leaves(value):
    return sum(map(count_leaves, value.values())) if isinstance(value, dict) else 1


def test_an_override_changes_what_is_listed(capsys):
    assert "--config.training.epochs=3" in lines(capsys, "folder", "--config.training.epochs=3")


def test_what_a_literal_may_be_is_said(capsys):
    said = " ".join(" ".join(lines(capsys, "quickstart")).split())
    assert "('adam' or 'adamw' or 'sgd')" in said
    passes = "--config.training.epochs=150 passes over the train features."
    assert f"{passes} (a whole number, at least 1)" in said


@pytest.mark.parametrize("kind", [Experiment, PretrainExperiment])
def test_every_setting_has_a_meaning(kind):
    silent = [setting.name for setting in settings_of(kind) if not setting.meaning]
    assert not silent, "say under Attributes: what they are"


@pytest.mark.parametrize("arguments", [["nothing"], ["quickstart", "--config.data.nmae=birds"]])
def test_mistakes_are_one_line(arguments, capsys):
    assert main(["config", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxcbm: error: ") and error.count("\n") == 1
