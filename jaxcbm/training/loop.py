"""The loop around the compiled epoch: validation, early stopping, checkpoints, metrics."""

import functools
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.distributed.mesh import place_rows, shardings_for
from jaxcbm.training.checkpoints import Checkpoints
from jaxcbm.training.metrics_log import MetricsLog
from jaxcbm.training.step import (
    Plan,
    TrainData,
    TrainState,
    evaluate_sums,
    init_state,
    train_epoch,
)


class ValidData(NamedTuple):
    """The validation features on the device, with a mask for padded rows."""

    inputs: jax.Array
    labels: jax.Array
    mask: jax.Array


class Progress(NamedTuple):
    """Where a run stands: everything that a resumed run must know.

    Attributes:
        state: parameters, optimizer state, step.
        best: the parameters with the lowest validation loss so far.
        epoch: epochs done.
        best_epoch: the epoch `best` comes from (1 is the first).
        best_loss: its validation loss.
    """

    state: TrainState
    best: Params
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")


def place_valid(inputs: np.ndarray, labels: np.ndarray, mesh: Mesh) -> ValidData:
    """Validation rows on the mesh."""
    mask = np.ones(len(labels), np.float32)
    return ValidData(*(place_rows(array, mesh) for array in (inputs, labels, mask)))


def state_shardings(plan: Plan, params: Params, mesh: Mesh) -> TrainState:
    """Where each leaf of the state lives; an optimizer's moments lie where their parameter does."""
    placed = shardings_for(params, mesh)
    replicated = NamedSharding(mesh, PartitionSpec())

    def of_leaf(path, leaf):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        owner = next((name for name in reversed(names) if name in params), None)
        if owner is None or leaf.shape != params[owner].shape:
            return replicated
        return placed[owner]

    shapes = jax.eval_shape(functools.partial(init_state, plan), params)
    return jax.tree_util.tree_map_with_path(of_leaf, shapes)


def run(
    plan: Plan,
    params: Params,
    data: TrainData,
    valid: ValidData,
    mesh: Mesh,
    workdir: Path | None = None,
) -> Progress:
    """Train until the last epoch or until validation stops improving.

    With a work directory the run resumes at its newest checkpoint, to the same result as an
    undisturbed run on the same devices.

    Args:
        plan: the static part of the fit.
        params: initial parameters.
        data: train features, placed on the mesh.
        valid: validation features, placed on the mesh.
        mesh: where everything lives.
        workdir: folder for checkpoints/ and metrics.jsonl; None keeps nothing.

    Returns:
        The last progress; its `best` holds the chosen parameters.
    """
    training = plan.config.training
    shardings = state_shardings(plan, params, mesh)
    # A copy: the epoch overwrites the state it is given, and data may share the parameters' memory.
    state = jax.device_put(jax.tree.map(jnp.copy, init_state(plan, params)), shardings)
    progress = Progress(state, jax.tree.map(jnp.copy, state.params))
    key = jax.random.key(training.seed)
    kept = Checkpoints(workdir / "checkpoints") if workdir else nullcontext()
    with kept as checkpoints, jax.set_mesh(mesh):
        if checkpoints:
            progress = _resume(checkpoints, progress)
        log = MetricsLog(workdir / "metrics.jsonl" if workdir else None, int(progress.state.step))
        epoch_step = jax.jit(
            functools.partial(train_epoch, plan=plan),
            donate_argnums=0,
            out_shardings=(shardings, None),
        )
        valid_step = jax.jit(functools.partial(evaluate_sums, plan=plan))
        while progress.epoch < training.epochs and not _stalled(progress, training.patience):
            state, metrics = epoch_step(progress.state, data, key)
            progress = _after_epoch(progress, state, metrics, valid_step(state.params, *valid), log)
            if checkpoints and progress.epoch % training.checkpoint_every == 0:
                _save(checkpoints, progress)
        if checkpoints and checkpoints.latest_step != int(progress.state.step):
            _save(checkpoints, progress)
    return progress


def _stalled(progress: Progress, patience: int) -> bool:
    return 0 < patience <= progress.epoch - progress.best_epoch


def _after_epoch(
    progress: Progress, state: TrainState, metrics: dict, sums: dict, log: MetricsLog
) -> Progress:
    step, epoch = int(state.step), progress.epoch + 1
    count = float(sums["count"])
    measured = {"loss": float(sums["loss"]) / count, "top1": float(sums["top1"]) / count}
    trained = {name: float(value) for name, value in metrics.items()}
    log.write(step, "train", trained)
    log.write(step, "valid", measured)
    logging.log_every_n_seconds(
        logging.INFO,
        "epoch %d: train loss %.4f, objective %.4f, top-1 %.3f; valid loss %.4f, top-1 %.3f",
        2.0,
        epoch,
        trained["loss"],
        trained["objective"],
        trained["top1"],
        measured["loss"],
        measured["top1"],
    )
    if measured["loss"] < progress.best_loss:
        best = jax.tree.map(jnp.copy, state.params)
        return Progress(state, best, epoch, epoch, measured["loss"])
    return progress._replace(state=state, epoch=epoch)


def _save(checkpoints: Checkpoints, progress: Progress) -> None:
    metadata = {
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "best_loss": progress.best_loss,
    }
    checkpoints.save(int(progress.state.step), (progress.state, progress.best), metadata)


def _resume(checkpoints: Checkpoints, fresh: Progress) -> Progress:
    found = checkpoints.restore((fresh.state, fresh.best))
    if found is None:
        return fresh
    (state, best), metadata = found
    logging.info("resuming after epoch %d", metadata["epoch"])
    return Progress(state, best, **metadata)
