"""The paper's system and the released code: one setting each for its config file and the table."""

from pathlib import Path

import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import read_config
from jaxcbm.experiment.methods import METHODS
from jaxcbm.experiment.original import ORIGINAL, original_fit
from jaxcbm.training.config import FitConfig, OptimizerConfig, SparseHeadConfig, TrainingConfig

CONFIGS = Path(__file__).parents[2] / "configs"
BIRDS = 2448
ROWS = [
    (setting, name)
    for setting in ORIGINAL
    for name, record in OBJECTIVES.items()
    if setting in record.variants
]


def config(setting, *overrides):
    return read_experiment(read_config(str(CONFIGS / f"{setting}.py"), list(overrides)))


@pytest.mark.parametrize("setting, objective", ROWS)
def test_the_config_file_and_the_rows_of_the_table_are_one_setting(setting, objective):
    adam = OptimizerConfig(learning_rate=1e-3, schedule="constant")
    found = config(setting, f"--config.bottleneck.objective={objective}").fit
    # What the released code does besides: no best epoch, and a head that only passes gradients on.
    released = setting == "released"
    assert (
        found
        == original_fit(setting, objective, BIRDS)
        == FitConfig(
            BottleneckConfig(
                objective=objective,
                variant=setting,
                parameterisation="full",
                standardise=False,
                head_bias=False,
                tau_end=1.0,
                cubed=not released,
            ),
            TrainingConfig(
                epochs=39,
                batch_size=32,
                cbl=adam,
                head=adam,
                ce_to_cbl=released,
                train_head=not released,
                keep_best=not released,
            ),
            SparseHeadConfig(enabled=False),
        )
    )


def test_few_images_are_trained_on_for_as_many_steps_as_the_recorded_runs():
    # (train images, epochs): a batch alone, the birds, CUB, Fashion-MNIST.
    for images, epochs in ((20, 2950), (BIRDS, 39), (9430, 10), (54_000, 10)):
        assert original_fit("released", "l1", images).training.epochs == epochs


@pytest.mark.parametrize("setting", ORIGINAL)
def test_it_says_nothing_about_the_splits(setting):
    assert config(setting).data.protocol == "official"


@pytest.mark.parametrize("setting", ORIGINAL)
def test_our_objective_is_not_one_of_the_original(setting):
    with pytest.raises(
        UserError, match=f"variant={setting}: the objective sigmoid has paired only"
    ):
        config(setting, "--config.bottleneck.objective=sigmoid")
    with pytest.raises(UserError, match="sigmoid"):
        original_fit(setting, "sigmoid", BIRDS)


def test_our_objective_is_the_quick_starts():
    found = config("quickstart", "--config.bottleneck.objective=sigmoid")
    assert found.bottleneck == BottleneckConfig(objective="sigmoid", sampler="sigmoid")


def test_rows_of_the_table_follow_the_table_of_objectives():
    rows = [name for name in METHODS if name.startswith("Sigmoid-CBM")]
    assert rows == ["Sigmoid-CBM, paired"]
    assert METHODS[rows[0]].published_as == "" and METHODS[rows[0]].kind == "ours"
    for title in ("paired", "the paper's system", "released"):
        assert METHODS[f"Sparse-CBM, {title}"].published_as == "sparse-cbm"
    assert "Similarity-CBM, the paper's system" not in METHODS
    for title in ("paired", "released"):
        assert METHODS[f"Similarity-CBM, {title}"].published_as == ""


@pytest.mark.parametrize("setting, objective", ROWS)
def test_a_row_is_no_row_of_ours_and_has_a_dense_head(setting, objective):
    title = {"paper": "the paper's system", "released": "released"}[setting]
    method = METHODS[f"{OBJECTIVES[objective].label}, {title}"]
    assert (method.kind, method.sparse, method.objective) == ("baseline", False, None)
    assert f"configs/{setting}.py" in method.note
