"""The sweep in jaxcbm: one program an objective, all learning rates and seeds at once."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.interleave import Work
from benchmarks.sweep_problem import OBJECTIVES, PENALTY, Arrays, Run, SweepProblem
from jaxcbm.bottleneck.gumbel_noise import gumbel_pair
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.experiment.original import original_fit
from jaxcbm.training.config import FitConfig, OptimizerConfig, TrainingConfig
from jaxcbm.training.fit_arrays import FitArrays, Inputs
from jaxcbm.training.step import TrainData, ValidData, init_state, make_plan, take_rows, train_step
from jaxcbm.training.sweep.grid import families
from jaxcbm.training.sweep.sweep import Outcome, run_family


def settings(problem: SweepProblem) -> FitConfig:
    """What the torch loops do: the released step, its head trained and with a bias."""
    released = original_fit("released", "gumbel", problem.images)
    bottleneck = replace(released.bottleneck, head_bias=True, penalty=PENALTY)
    training = TrainingConfig(
        epochs=problem.epochs,
        batch_size=problem.batch,
        ce_to_cbl=True,
        cbl=OptimizerConfig("adam", 1e-3, "constant"),
        head=OptimizerConfig("adam", 1e-2, "constant"),
    )
    return replace(released, bottleneck=bottleneck, training=training)


def sweep(problem: SweepProblem, arrays: Arrays) -> list[Outcome]:
    """Every run of the grid, from scores that are there already."""
    grid = {
        "bottleneck.objective": OBJECTIVES,
        "training.cbl.learning_rate": problem.cbl_rates,
        "training.seed": tuple(range(problem.seeds)),
    }
    mesh = make_mesh(devices=jax.devices()[:1])
    given = FitArrays(
        # Still on the host: `run_family` puts them on its mesh.
        Inputs(InputMap(None, jnp.zeros(problem.concepts)), None),
        TrainData(arrays.scores_NxD, arrays.labels_N),
        ValidData(
            arrays.valid_scores_MxD,
            arrays.valid_labels_M,
            np.ones(len(arrays.valid_labels_M), np.float32),
        ),
    )
    sizes = problem.concepts, problem.classes
    return [
        outcome
        for family in families(settings(problem), grid)
        for tile in run_family(family, given, sizes, mesh, memory=2**30)
        for outcome in tile
    ]


def at_once(problem: SweepProblem, arrays: Arrays) -> Work:
    """The whole sweep, upload and best parameters included; compiled by the first call."""

    def work() -> None:
        sweep(problem, arrays)

    return work


def replay(
    problem: SweepProblem, arrays: Arrays, run: Run, steps: int
) -> tuple[np.ndarray, list[Any]]:
    """Cross-entropy and objective of one step a batch, in order, and the noise that was drawn."""
    config = settings(problem)
    config = replace(config, bottleneck=replace(config.bottleneck, objective=run.objective))
    training = replace(config.training, cbl=OptimizerConfig("adam", run.cbl_rate, "constant"))
    config = replace(config, training=training)
    structure, params = build_bottleneck(
        config.bottleneck, problem.concepts, problem.concepts, problem.classes
    )
    given = {"cbl.kernel": arrays.cbl_DxD, "head.kernel": arrays.head_DxK}
    plan = make_plan(structure, config, problem.images)
    state = init_state(plan, params | {path: jnp.asarray(value) for path, value in given.items()})
    data = TrainData(jnp.asarray(arrays.scores_NxD), jnp.asarray(arrays.labels_N))
    step = jax.jit(lambda state, rows, key: train_step(state, plan, take_rows(data, rows), key))
    shape = (problem.batch, problem.concepts)
    losses, noises = [], []
    for i in range(steps):
        key = jax.random.key(i)
        state, metrics = step(state, i * problem.batch + jnp.arange(problem.batch), key)
        losses.append((float(metrics["loss"]), float(metrics["objective"])))
        # As `jaxcbm.training.step.loss` splits the step's key.
        noises.append(gumbel_pair(jax.random.split(key)[1], shape))
    return np.array(losses), noises
