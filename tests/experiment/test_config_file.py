from pathlib import Path

import pytest

from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import find_config, read_config, settled
from jaxcbm.experiment.pretrain import PretrainExperiment
from jaxcbm.typed_json import from_json

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.py")))
def test_every_shipped_config_is_read_by_name(name):
    config = read_config(name)
    if name == "pretrain_tiny":
        assert from_json(PretrainExperiment, config, "config").training.steps > 0
    else:
        assert read_experiment(config).training.epochs > 0


def test_a_config_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("quickstart").read_bytes() == (CONFIGS / "quickstart.py").read_bytes()
    for name in ("mine", "quickstart"):
        (tmp_path / f"{name}.py").write_text("")
    assert find_config("mine") == find_config("mine.py").with_suffix(".py") == Path("mine.py")
    assert find_config("./mine") == Path("mine.py")
    # Who writes a file's name means the file.
    assert find_config("quickstart.py") == Path("quickstart.py")
    assert find_config("quickstart") == CONFIGS / "quickstart.py"


@pytest.mark.parametrize("name", ["nothing", "configs/quickstart.py", "", "../quickstart"])
def test_a_config_that_is_not_there_is_one_line_with_the_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no config '.*': .*\bfolder, .*\bquickstart") as caught:
        read_config(name)
    assert "\n" not in str(caught.value)


def test_overrides_are_typed():
    config = read_config(
        "quickstart", ["--config.training.epochs=3", "--config.bottleneck.standardise=False"]
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
        read_config("quickstart", [override])
    assert "\n" not in str(caught.value)


def test_a_fault_in_a_config_file_keeps_its_traceback(tmp_path):
    (tmp_path / "broken.py").write_text("def get_config():\n    return 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        read_config(str(tmp_path / "broken.py"))


def test_a_workdir_belongs_to_one_config(tmp_path):
    for _ in range(2):
        with settled(tmp_path / "run", {"a": {"b": 1}}):
            (tmp_path / "run" / "model").mkdir(exist_ok=True)
    changed = settled(tmp_path / "run", {"a": {"b": 2}})
    with pytest.raises(UserError, match=r"config\.a\.b is 1 there, 2 here"), changed:
        pass


def test_a_mistake_that_shows_before_anything_is_done_binds_no_workdir(tmp_path):
    with pytest.raises(UserError, match="no such"), settled(tmp_path / "run", {"a": 1}):
        raise UserError("no such folder")
    with settled(tmp_path / "run", {"a": 2}):
        pass


@pytest.mark.parametrize(
    "config,words",
    [
        (
            {"bottleneck": {"variant": "new"}},
            [
                "bottleneck.variant must be 'paired' or 'paper' or 'diagonal' or 'released', "
                "not 'new'"
            ],
        ),
        ({"trainig": {}}, ["trainig is unknown", "training"]),
        ({"training": {"cbl": {"rate": 1}}}, ["training.cbl.rate is unknown", "learning_rate"]),
        ({"training": {"epochs": 2.5}}, ["training.epochs must be a whole number, not 2.5"]),
        ({"training": {"cbl": {"learning_rate": None}}}, ["learning_rate must be a number"]),
        ({"training": {"kl_weight": float("nan")}}, ["kl_weight must be a number, not nan"]),
        ({"mesh": 8}, ["mesh must be an object, not 8"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_place(config, words):
    with pytest.raises(UserError) as caught:
        read_experiment(config)
    assert str(caught.value).startswith("config: ")
    for word in words:
        assert word in str(caught.value)
