"""Training from cached features in jaxcbm: its compiled epoch, with the settings of the rival."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cbm_problem import CBL_RATE, HEAD_RATE, Arrays, Problem, scores
from benchmarks.interleave import Work
from jaxcbm.bottleneck.gumbel_noise import gumbel_pair
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import place_rows, replicate
from jaxcbm.experiment.original import original_fit
from jaxcbm.training.config import FitConfig, OptimizerConfig, TrainingConfig
from jaxcbm.training.fit_arrays import KEEP_SCORES_UP_TO
from jaxcbm.training.state import state_shardings
from jaxcbm.training.step import (
    Plan,
    TrainData,
    TrainState,
    init_state,
    make_plan,
    take_rows,
    train_epoch,
    train_step,
)

FULL, FACTORED = "full", "factored"


def settings(problem: Problem, parameterisation: str) -> FitConfig:
    """What the torch loops do, as jaxcbm's configuration: the released Gumbel step, head trained.

    The factored layer changes the parameters and nothing else.
    """
    released = original_fit("released", "gumbel", problem.images)
    training = TrainingConfig(
        epochs=1,
        batch_size=problem.batch,
        ce_to_cbl=True,
        cbl=OptimizerConfig("adam", CBL_RATE, "constant"),
        head=OptimizerConfig("adam", HEAD_RATE, "constant"),
    )
    bottleneck = replace(released.bottleneck, parameterisation=parameterisation)
    return replace(released, bottleneck=bottleneck, training=training)


def prepare(
    problem: Problem, arrays: Arrays, parameterisation: str = FULL
) -> tuple[Plan, TrainState, TrainData]:
    """Plan, first state and features; wide scores are computed batch by batch, as `fit` does."""
    config = settings(problem, parameterisation)
    factored = parameterisation == FACTORED
    inputs = problem.embed_dim if factored else problem.concepts
    structure, params = build_bottleneck(
        config.bottleneck, inputs, problem.concepts, problem.classes
    )
    cbl = arrays.concepts_ExD if factored else arrays.cbl_DxD
    params |= {"cbl.kernel": jnp.asarray(cbl), "head.kernel": jnp.asarray(arrays.head_DxK)}
    features, mapping, base = arrays.embeddings_NxE, None, None
    if factored:
        mapping = InputMap(None, np.zeros(problem.embed_dim, np.float32))
        base = arrays.concepts_ExD
    elif problem.concepts > max(KEEP_SCORES_UP_TO, problem.embed_dim):
        mapping = InputMap(arrays.concepts_ExD, np.zeros(problem.concepts, np.float32))
    else:
        features = scores(arrays)
    mesh = make_mesh(devices=jax.devices()[:1])
    data = TrainData(
        inputs=place_rows(features, mesh),
        labels=place_rows(arrays.labels_N, mesh),
        base_kernel=replicate(base, mesh),
        input_map=replicate(mapping, mesh),
    )
    plan = make_plan(structure, config, problem.images)._replace(steps_per_epoch=problem.steps)
    state = jax.device_put(init_state(plan, params), state_shardings(plan, params, mesh))
    return plan, state, data


def epoch_loop(problem: Problem, arrays: Arrays, parameterisation: str = FULL) -> Work:
    """The compiled epoch, as a fit in memory runs it."""
    mesh = make_mesh(devices=jax.devices()[:1])
    plan, state, data = prepare(problem, arrays, parameterisation)
    shardings = state_shardings(plan, state.params, mesh)
    with jax.set_mesh(mesh):
        epoch = jax.jit(
            functools.partial(train_epoch, plan=plan),
            donate_argnums=0,
            out_shardings=(shardings, None),
        )
    key = jax.random.key(0)

    def work() -> None:
        nonlocal state
        with jax.set_mesh(mesh):
            state, metrics = epoch(state, data, key)
        jax.block_until_ready((state, metrics))

    return work


def replay(
    problem: Problem, arrays: Arrays, steps: int
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Cross-entropy and objective of one step a batch, in order, and the noise that was drawn."""
    plan, state, data = prepare(problem, arrays)
    shape = (problem.batch, problem.concepts)
    losses, noises = [], []

    @jax.jit
    def step(state: TrainState, rows_B: jax.Array, key: jax.Array):
        return train_step(state, plan, take_rows(data, rows_B), key)

    for i in range(steps):
        key = jax.random.key(i)
        state, metrics = step(state, jnp.arange(i * problem.batch, (i + 1) * problem.batch), key)
        losses.append((float(metrics["loss"]), float(metrics["objective"])))
        # As `jaxcbm.training.step.loss` splits the step's key.
        over_rows, over_columns = gumbel_pair(jax.random.split(key)[1], shape)
        noises.append((np.array(over_rows), np.array(over_columns)))
    return np.array(losses), noises
