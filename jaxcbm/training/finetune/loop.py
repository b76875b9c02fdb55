"""The loop around the end-to-end step: pixels, validation, early stopping, checkpoints."""

import functools
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.data.pixel_batches import Batch, Pictures, pixel_batches, rows_in_order, shuffled_rows
from jaxcbm.distributed import preemption
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.distributed.parts import own_rows, place_part
from jaxcbm.distributed.placement import fetch, place, replicate
from jaxcbm.distributed.processes import is_main
from jaxcbm.errors import UserError
from jaxcbm.training.checkpoints import Checkpoints
from jaxcbm.training.finetune.step import Fixed, Task, evaluate_batch, tune_step
from jaxcbm.training.loop import place_state, state_shardings
from jaxcbm.training.metrics_log import MetricsLog
from jaxcbm.training.step import Metrics, TrainState

_METRICS = ("loss", "objective", "top1")


class Tuning(NamedTuple):
    """Where a run stands: everything that a resumed run must know.

    Attributes:
        state: what trains, optimizer state, step.
        best: what trains, as it was with the lowest validation loss so far.
        totals: sums of the metrics since the epoch began.
        epoch: epochs done.
        best_epoch: the epoch `best` comes from; 0 is the start.
        best_loss: its validation loss.
    """

    state: TrainState
    best: Params
    totals: Metrics
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")


class _Run(NamedTuple):
    """What stays the same during a run."""

    task: Task
    fixed: Fixed
    train: Pictures
    valid: Pictures
    mesh: Mesh
    identity: dict[str, Any]
    checkpoints: Checkpoints | None
    log: MetricsLog
    timing: MetricsLog
    step: Any
    measure: Any


def run(
    task: Task,
    params: Params,
    fixed: Fixed,
    train: Pictures,
    valid: Pictures,
    mesh: Mesh,
    identity: dict[str, Any],
    workdir: Path | None = None,
) -> Tuning:
    """Train until the last epoch or until validation stops improving.

    With a work directory the run resumes at its newest checkpoint, also in the middle of an epoch,
    to the same result as an undisturbed run on the same devices. A checkpoint holds what trains,
    and the identity of what does not. Where several processes run together, all of them call this
    with the same arguments; each decodes the images of its own devices, and one writes the metrics.

    Args:
        task: the static part.
        params: what trains, at its start.
        fixed: what does not.
        train: the train images.
        valid: the validation images.
        mesh: batches lie over its axis `data`, what divides of the towers over `model`.
        identity: name and hash of the frozen encoder, and what trains of it; JSON.
        workdir: folder for checkpoints/, metrics.jsonl and timing.jsonl, which all processes see;
            None keeps nothing.

    Returns:
        The last progress; its `best` holds the chosen parameters.

    Raises:
        UserError: the checkpoint continues the training of another encoder.
        Preempted: the run was asked to stop, and has saved its last step.
    """
    plan = task.plan
    shardings = state_shardings(plan, params, mesh)
    state = place_state(plan, params, shardings)
    start = Tuning(state, jax.tree.map(jnp.copy, state.params), _no_totals(mesh))
    kept = Checkpoints(workdir / "checkpoints") if workdir else nullcontext()
    with kept as checkpoints, jax.set_mesh(mesh):
        tuning = _resume(checkpoints, start, identity) if checkpoints else start
        logs = [
            MetricsLog(workdir / name if workdir and is_main() else None, int(tuning.state.step))
            for name in ("metrics.jsonl", "timing.jsonl")
        ]
        job = _Run(
            task=task,
            fixed=place_fixed(fixed, mesh),
            train=train,
            valid=valid,
            mesh=mesh,
            identity=identity,
            checkpoints=checkpoints,
            log=logs[0],
            timing=logs[1],
            step=compile_step(task, shardings, mesh),
            measure=jax.jit(functools.partial(evaluate_batch, task=task)),
        )
        if int(tuning.state.step) == 0:
            measured = _measure(job, tuning.state.params)
            job.log.write(0, "valid", measured)
            tuning = tuning._replace(best_loss=measured["loss"])
        # Leaving the block, by an exception too, waits until checkpoints are on disk.
        while tuning.epoch < task.tuning.epochs and not _stalled(tuning, task.tuning.patience):
            tuning = _after_epoch(job, _epoch(job, tuning))
            _save(job, tuning)
    return tuning


def compile_step(task: Task, shardings: TrainState, mesh: Mesh) -> Any:
    """`tune_step` as a program that overwrites the state and the sums that it is given."""
    return jax.jit(
        functools.partial(tune_step, task=task),
        donate_argnums=(0, 1),
        out_shardings=(shardings, NamedSharding(mesh, PartitionSpec())),
    )


def place_fixed(fixed: Fixed, mesh: Mesh) -> Fixed:
    """What does not train on the mesh: towers and wide constants by the rules, the rest whole."""
    wide = {
        name: value
        for name in ("base_kernel", "class_positives")
        if (value := getattr(fixed, name)) is not None
    }
    return replicate(
        fixed._replace(encoder={}, base_kernel=None, class_positives=None), mesh
    )._replace(
        encoder=place(fixed.encoder, shardings_for(fixed.encoder, mesh)),
        **place(wide, shardings_for(wide, mesh)),
    )


def _epoch(job: _Run, tuning: Tuning) -> Tuning:
    """The steps of an epoch that are still to do."""
    plan, every = job.task.plan, job.task.tuning.checkpoint_every
    seed = plan.config.training.seed
    key = replicate(jax.random.key(seed), job.mesh)
    rows_SxB = shuffled_rows(plan.examples, plan.batch_size, seed, tuning.epoch)
    done = int(tuning.state.step) - tuning.epoch * plan.steps_per_epoch
    started = time.monotonic()
    for number, batch in enumerate(_placed(job, job.train, rows_SxB[done:]), done + 1):
        with jax.transfer_guard("disallow"):
            state, totals = job.step(tuning.state, tuning.totals, job.fixed, batch, key)
        tuning = tuning._replace(state=state, totals=totals)
        stop = preemption.requested(step := tuning.epoch * plan.steps_per_epoch + number)
        if stop or (every and number % every == 0 and number < plan.steps_per_epoch):
            _save(job, tuning)
        if stop:
            raise preemption.Preempted(step)
    jax.block_until_ready(tuning.totals)
    seconds = (time.monotonic() - started) / max(plan.steps_per_epoch - done, 1)
    job.timing.write(int(tuning.state.step), "train", {"seconds_a_step": seconds})
    return tuning


def _after_epoch(job: _Run, tuning: Tuning) -> Tuning:
    step, epoch = int(tuning.state.step), tuning.epoch + 1
    totals = fetch(tuning.totals)
    trained = {k: float(v) / job.task.plan.steps_per_epoch for k, v in totals.items()}
    measured = _measure(job, tuning.state.params)
    job.log.write(step, "train", trained)
    job.log.write(step, "valid", measured)
    logging.info(
        "epoch %d: train loss %.4f, objective %.4f, top-1 %.3f; valid loss %.4f, top-1 %.3f",
        *(epoch, *(trained[name] for name in _METRICS), measured["loss"], measured["top1"]),
    )
    tuning = tuning._replace(totals=_no_totals(job.mesh), epoch=epoch)
    if measured["loss"] >= tuning.best_loss:
        return tuning
    best = jax.tree.map(jnp.copy, tuning.state.params)
    return tuning._replace(best=best, best_epoch=epoch, best_loss=measured["loss"])


def _measure(job: _Run, params: Params) -> dict[str, float]:
    rows_SxB = rows_in_order(len(job.valid.images), job.task.plan.batch_size)
    sums = []
    for batch in _placed(job, job.valid, rows_SxB):
        with jax.transfer_guard("disallow"):
            measured = job.measure(params, job.fixed, batch)
        sums.append({name: float(value) for name, value in fetch(measured).items()})
    count = sum(part["count"] for part in sums)
    return {name: sum(part[name] for part in sums) / count for name in ("loss", "top1")}


def _placed(job: _Run, pictures: Pictures, rows_SxB: np.ndarray) -> Iterator[Batch]:
    """Batches on the mesh; pixels travel as bytes. A process decodes what its devices hold."""
    count = rows_SxB.shape[1]
    first, last = own_rows(count, job.mesh)
    for batch in pixel_batches(pictures, rows_SxB[:, first:last]):
        yield jax.tree.map(lambda rows: place_part(rows, first, count, job.mesh), batch)


def _stalled(tuning: Tuning, patience: int) -> bool:
    return 0 < patience <= tuning.epoch - tuning.best_epoch


def _no_totals(mesh: Mesh) -> Metrics:
    return replicate({name: jnp.zeros((), jnp.float32) for name in _METRICS}, mesh)


def _save(job: _Run, tuning: Tuning) -> None:
    if job.checkpoints is None:
        return
    metadata = {
        "epoch": tuning.epoch,
        "best_epoch": tuning.best_epoch,
        "best_loss": tuning.best_loss,
        "frozen": job.identity,
    }
    tree = (tuning.state, tuning.best, tuning.totals)
    job.checkpoints.save(int(tuning.state.step), tree, metadata)


def _resume(checkpoints: Checkpoints, start: Tuning, identity: dict[str, Any]) -> Tuning:
    found = checkpoints.restore((start.state, start.best, start.totals))
    if found is None:
        return start
    (state, best, totals), metadata = found
    if (frozen := metadata.pop("frozen")) != identity:
        raise UserError(
            f"the checkpoint continues the training of encoder {frozen['encoder']} "
            f"({frozen['hash'][:12]}), this one is {identity['encoder']} "
            f"({identity['hash'][:12]}): choose another --workdir"
        )
    logging.info("resuming after step %d", int(state.step))
    return Tuning(state, best, totals, **metadata)
