"""Mistakes made on purpose in a copy of the package: each turns the tests red that guard the place.

A mutation replaces one text, which must stand there exactly once: where code moved, move its row.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
LOOP, STREAM = "tests/training/test_loop.py", "tests/training/test_streamed_fit.py"
STEP = "jaxcbm/training/step.py"

pytestmark = pytest.mark.slow


class Mutation(NamedTuple):
    """One mistake.

    Attributes:
        file: what it is made in.
        before: the text that stands there.
        after: the text instead.
        red: the tests that must fail, each of them.
    """

    file: str
    before: str
    after: str
    red: tuple[str, ...]


SCORES = "    psi_BxD = batch.inputs if base is None else jnp.matmul(batch.inputs, base)\n"
SWAP = """    from dataclasses import replace
    swapped = {{"{0}": "{1}", "{1}": "{0}"}}
    config = replace(config, objective=swapped.get(config.objective, config.objective))
"""
NOTHING_ON_TEST = (
    "tests/evaluation/test_evaluate.py::test_nothing_that_test_is_measured_by_is_fitted_on_test"
)
LOSS_OF_ITS_NAME = f"{LOOP}::test_each_objective_is_the_loss_of_its_name"

MUTATIONS = {
    "learning rate 0": Mutation(
        "jaxcbm/training/optimizers.py",
        "    peak = config.learning_rate\n",
        "    peak = 0.0 * config.learning_rate\n",
        (
            f"{LOOP}::test_every_optimizer_and_schedule_moves_the_parameters[constant-sgd]",
            f"{LOOP}::test_every_optimizer_and_schedule_moves_the_parameters[cosine-adamw]",
            f"{LOOP}::test_every_sampler_trains_to_finite_parameters[top_k-False]",
            f"{LOOP}::test_every_objective_and_variant_trains_to_finite_parameters[l1-paper]",
        ),
    ),
    "a positive dropped": Mutation(
        "jaxcbm/bottleneck/positives.py",
        "own(), annotated_BxD.astype(jnp.float32))\n",
        "own(), annotated_BxD.astype(jnp.float32)).at[:, 0].set(0.0)\n",
        (LOSS_OF_ITS_NAME,),
    ),
    "labels shifted by one": Mutation(
        STEP,
        "(logits_BxK, batch.labels).mean()",
        "(logits_BxK, (batch.labels + 1) % logits_BxK.shape[1]).mean()",
        (f"{LOOP}::test_the_loss_falls_and_validation_beats_chance",),
    ),
    "no proximal step": Mutation(
        STEP,
        '    kernel = params["cbl.kernel"]\n',
        '    return params\n    kernel = params["cbl.kernel"]\n',
        (f"{LOOP}::test_proximal_l1_reaches_exact_zeros_and_the_subgradient_does_not",),
    ),
    "no sparse head": Mutation(
        "jaxcbm/training/fit.py",
        "    if not config.sparse_head.enabled:\n",
        "    if True:\n",
        (f"{STREAM}::test_fit_solves_the_sparse_head_on_a_stated_sample",),
    ),
    "contrastive and gumbel swapped": Mutation(
        STEP, SCORES, SWAP.format("contrastive", "gumbel") + SCORES, (LOSS_OF_ITS_NAME,)
    ),
    "calibrated on test": Mutation(
        "jaxcbm/evaluation/evaluate.py",
        "_calibration(fitted, splits.train, valid, on_valid, seed)",
        "_calibration(fitted, splits.train, test, prediction, seed)",
        (NOTHING_ON_TEST,),
    ),
    "temperature of test": Mutation(
        "jaxcbm/evaluation/calibration.py",
        "    temperature = fit_temperature(valid_logits_NxK, valid_labels_N)\n",
        "    temperature = fit_temperature(test_logits_NxK, test_labels_N)\n",
        ("tests/evaluation/test_evaluate.py::test_the_temperature_is_fitted_on_validation_alone",),
    ),
    "temperature of train": Mutation(
        "jaxcbm/training/calibrate.py",
        "    on_valid = model.predict_embeddings(valid.as_array())\n",
        "    valid = train\n    on_valid = model.predict_embeddings(valid.as_array())\n",
        ("tests/training/test_calibrate.py::test_a_fit_is_calibrated_on_validation[False]",),
    ),
    "similarity and l1 swapped": Mutation(
        STEP, SCORES, SWAP.format("similarity", "l1") + SCORES, (LOSS_OF_ITS_NAME,)
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_turns_its_tests_red(name, tmp_path):
    mutation = MUTATIONS[name]
    shutil.copytree(ROOT / "jaxcbm", tmp_path / "jaxcbm")
    source = (tmp_path / mutation.file).read_text(encoding="utf-8")
    assert source.count(mutation.before) == 1, f"{mutation.file} changed: move this mutation"
    mutated = source.replace(mutation.before, mutation.after)
    (tmp_path / mutation.file).write_text(mutated, encoding="utf-8")
    # -P: the package of the working directory would come before the copy.
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "",
            *mutation.red,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    # 1: tests failed. Anything else is no test that ran.
    assert done.returncode == 1, done.stdout[-3000:]
    for test in mutation.red:
        assert f"FAILED {test}" in done.stdout, done.stdout[-3000:]
    assert "ImportError" not in done.stdout and "NameError" not in done.stdout
