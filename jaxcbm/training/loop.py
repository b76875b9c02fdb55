"""The loop around the compiled epoch: validation, early stopping, checkpoints, metrics."""

import functools
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.distributed import preemption
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.distributed.placement import fetch, place, place_rows, replicate
from jaxcbm.distributed.processes import is_main
from jaxcbm.training.checkpoints import Checkpoints
from jaxcbm.training.metrics_log import MetricsLog
from jaxcbm.training.step import (
    Metrics,
    Plan,
    TrainData,
    TrainState,
    evaluate_sums,
    init_state,
    take_rows,
    train_epoch,
)

# Validation scores beyond so many are made and left again block by block.
_SCORES_AT_ONCE = 2**26


class ValidData(NamedTuple):
    """The validation features on the device, with a mask for padded rows.

    Attributes:
        inputs: as those of the train features: what the layer reads, or embeddings.
        labels: int32 [M (padded)].
        mask: float32 [M (padded)]; 0 for padding.
    """

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


def place_state(plan: Plan, params: Params, shardings: TrainState) -> TrainState:
    """The state before the first step, each leaf made where it lives.

    The parameters are copied: steps overwrite the state, and data may share their memory.
    """

    def fresh(params: Params) -> TrainState:
        return init_state(plan, jax.tree.map(jnp.copy, params))

    return jax.jit(fresh, out_shardings=shardings)(place(params, shardings.params))


def compile_epoch(plan: Plan, shardings: TrainState, mesh: Mesh) -> Any:
    """`train_epoch` as one program that overwrites the state it is given."""
    return jax.jit(
        functools.partial(train_epoch, plan=plan),
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )


def evaluate(
    params: Params, valid: ValidData, input_map: InputMap | None, *, plan: Plan
) -> Metrics:
    """Masked sums over the validation split, as `evaluate_sums`; wide scores block by block."""
    rows, width = len(valid.labels), params["head.kernel"].shape[0]
    size = min(rows, max(_SCORES_AT_ONCE // width, 1))
    if input_map is None and size == rows:
        return evaluate_sums(params, *valid, plan=plan)

    def add(total: Metrics, rows_B: jax.Array) -> tuple[Metrics, None]:
        known_B = jnp.minimum(rows_B, rows - 1)
        batch = take_rows(TrainData(valid.inputs, valid.labels, input_map=input_map), known_B)
        mask_B = jnp.where(rows_B < rows, valid.mask[known_B], 0.0)
        sums = evaluate_sums(params, batch.inputs, batch.labels, mask_B, plan=plan)
        return jax.tree.map(jnp.add, total, sums), None

    nothing = {name: jnp.zeros(()) for name in ("loss", "top1", "count")}
    rows_SxB = jnp.arange(-(-rows // size) * size).reshape(-1, size)
    return jax.lax.scan(add, nothing, rows_SxB)[0]


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
    undisturbed run on the same devices. Where several processes run together, all of them call
    this with the same arguments, and one of them writes the metrics.

    Args:
        plan: the static part of the fit.
        params: initial parameters, placed or not.
        data: train features, placed on the mesh.
        valid: validation features, placed on the mesh.
        mesh: where everything lives.
        workdir: folder for checkpoints/ and metrics.jsonl, which all processes see; None keeps
            nothing.

    Returns:
        The last progress; its `best` holds the chosen parameters.

    Raises:
        Preempted: the run was asked to stop, and has saved its last epoch.
    """
    training = plan.config.training
    shardings = state_shardings(plan, params, mesh)
    state = place_state(plan, params, shardings)
    progress = Progress(state, jax.tree.map(jnp.copy, state.params))
    key = replicate(jax.random.key(training.seed), mesh)
    kept = Checkpoints(workdir / "checkpoints") if workdir else nullcontext()
    with kept as checkpoints, jax.set_mesh(mesh):
        if checkpoints:
            progress = _resume(checkpoints, progress)
        file = workdir / "metrics.jsonl" if workdir and is_main() else None
        log = MetricsLog(file, int(progress.state.step))
        epoch_step = compile_epoch(plan, shardings, mesh)
        valid_step = jax.jit(functools.partial(evaluate, plan=plan))
        while progress.epoch < training.epochs and not stalled(progress, training.patience):
            with jax.transfer_guard("disallow"):
                state, metrics = epoch_step(progress.state, data, key)
                sums = valid_step(state.params, valid, data.input_map)
            progress = after_epoch(progress, state, metrics, sums, log)
            stop = preemption.requested(progress.epoch * plan.steps_per_epoch)
            if checkpoints and (stop or progress.epoch % training.checkpoint_every == 0):
                _save(checkpoints, progress)
            if stop:
                # Leaving the block waits until the checkpoint is on disk.
                raise preemption.Preempted(progress.epoch * plan.steps_per_epoch)
        if checkpoints and checkpoints.latest_step != int(progress.state.step):
            _save(checkpoints, progress)
    return progress


def stalled(progress: Progress, patience: int) -> bool:
    """Whether validation has not improved for `patience` epochs; 0 never stops."""
    return 0 < patience <= progress.epoch - progress.best_epoch


def after_epoch(
    progress: Progress, state: TrainState, metrics: dict, sums: dict, log: MetricsLog
) -> Progress:
    metrics, sums, step = fetch((metrics, sums, state.step))
    step, epoch = int(step), progress.epoch + 1
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
