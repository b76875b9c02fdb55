"""What `released` means: one setting for the config file and the table, apart from the splits."""

from dataclasses import replace
from pathlib import Path

import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.experiment.methods import METHODS
from jaxcbm.experiment.released import released_fit
from jaxcbm.training.config import FitConfig, OptimizerConfig, SparseHeadConfig, TrainingConfig

CONFIG = str(Path(__file__).parents[2] / "configs" / "released.py")
OTHERS = [name for name, record in OBJECTIVES.items() if "released" in record.variants]


@pytest.mark.parametrize("objective", OTHERS)
def test_the_config_file_and_the_rows_of_the_table_are_one_setting(objective):
    override = f"--config.bottleneck.objective={objective}"
    found = read_experiment(read_config(CONFIG, [override])).fit
    assert replace(found.training, epochs=TrainingConfig().epochs) == found.training
    assert (
        found
        == released_fit(objective)
        == FitConfig(
            BottleneckConfig(
                objective=objective,
                variant="released",
                parameterisation="full",
                standardise=False,
                head_bias=False,
                tau_end=1.0,
            ),
            TrainingConfig(
                ce_to_cbl=True,
                train_head=False,
                cbl=OptimizerConfig(learning_rate=1e-3, schedule="constant"),
            ),
            SparseHeadConfig(enabled=False),
        )
    )


def test_it_says_nothing_about_the_splits():
    assert read_experiment(read_config(CONFIG)).data.protocol == "official"


@pytest.mark.parametrize("setting", [CONFIG, "quickstart"])
def test_our_objective_is_not_one_of_the_released(setting):
    overrides = ["--config.bottleneck.objective=sigmoid"]
    if setting != CONFIG:
        found = read_experiment(read_config(CONFIG.replace("released", setting), overrides))
        assert found.bottleneck == BottleneckConfig(objective="sigmoid", sampler="sigmoid")
        return
    with pytest.raises(UserError, match="variant=released: the objective sigmoid has paired only"):
        read_experiment(read_config(CONFIG, overrides))
    with pytest.raises(UserError, match="sigmoid"):
        released_fit("sigmoid")


def test_rows_of_the_table_follow_the_table_of_objectives():
    rows = [name for name in METHODS if name.startswith("Sigmoid-CBM")]
    assert rows == ["Sigmoid-CBM, paired"]
    assert METHODS[rows[0]].published_as == "" and METHODS[rows[0]].kind == "ours"
    for title in ("paired", "as in the paper", "released"):
        assert METHODS[f"Sparse-CBM, {title}"].published_as == "sparse-cbm"
        assert METHODS[f"Similarity-CBM, {title}"].published_as == ""
