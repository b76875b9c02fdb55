"""The loop over a store that does not fit in memory: one compiled step, batches read ahead."""

import functools
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.bottleneck.scores import apply_map
from jaxcbm.data.progress import ProgressLine
from jaxcbm.data.stream.batches import FeatureBatch, Share, blocks_in_order, feature_batches
from jaxcbm.data.stream.order import StreamOrder
from jaxcbm.distributed import preemption
from jaxcbm.distributed.parts import own_rows, place_part
from jaxcbm.distributed.placement import replicate
from jaxcbm.distributed.processes import is_main
from jaxcbm.training.checkpoints import Checkpoints
from jaxcbm.training.loop import (
    Progress,
    after_epoch,
    place_state,
    stalled,
    state_shardings,
)
from jaxcbm.training.metrics_log import MetricsLog
from jaxcbm.training.step import (
    Metrics,
    Plan,
    TrainData,
    TrainState,
    evaluate_sums,
    map_inputs,
    train_step,
)
from jaxcbm.training.streamed_arrays import Stream

_METRICS = ("loss", "objective", "top1")
# Steps that are handed to the device before the first of them is done: one works, one waits.
_STEPS_AHEAD = 2


class Streamed(NamedTuple):
    """Where a run stands, also in the middle of an epoch.

    Attributes:
        progress: as for a fit in memory.
        totals: sums of the metrics since the epoch began.
    """

    progress: Progress
    totals: Metrics


class _Job(NamedTuple):
    """What stays the same during a run."""

    plan: Plan
    stream: Stream
    order: StreamOrder
    mesh: Mesh
    key: jax.Array
    checkpoints: Checkpoints | None
    log: MetricsLog
    step: Any
    measure: Any


def stream_order(plan: Plan) -> StreamOrder:
    """The order of a fit's batches; another number of devices or processes has the same."""
    training = plan.config.training
    return StreamOrder(plan.examples, plan.batch_size, training.seed, training.window)


def run(
    plan: Plan, params: Params, stream: Stream, mesh: Mesh, workdir: Path | None = None
) -> Progress:
    """Train until the last epoch or until validation stops improving.

    With a work directory the run resumes at its newest checkpoint, also in the middle of an epoch,
    to the same result as an undisturbed run on the same devices.

    Args:
        plan: the static part of the fit.
        params: initial parameters.
        stream: both splits, on disk; what they share lies on the mesh.
        mesh: batches lie over its axis `data`; each process reads only its part of them.
        workdir: folder for checkpoints/ and metrics.jsonl; None keeps nothing.

    Returns:
        The last progress; its `best` holds the chosen parameters.

    Raises:
        Preempted: the run was asked to stop; its checkpoint is on disk.
    """
    training = plan.config.training
    shardings = state_shardings(plan, params, mesh)
    state = place_state(plan, params, shardings)
    begun = Streamed(Progress(state, jax.tree.map(jnp.copy, state.params)), _no_totals(mesh))
    kept = Checkpoints(workdir / "checkpoints") if workdir else nullcontext()
    with kept as checkpoints, jax.set_mesh(mesh):
        now = _resume(checkpoints, begun) if checkpoints else begun
        path = workdir / "metrics.jsonl" if workdir and is_main() else None
        job = _Job(
            plan=plan,
            stream=stream,
            order=stream_order(plan),
            mesh=mesh,
            key=replicate(jax.random.key(training.seed), mesh),
            checkpoints=checkpoints,
            log=MetricsLog(path, int(now.progress.state.step)),
            step=jax.jit(
                functools.partial(streamed_step, plan=plan),
                donate_argnums=(0, 1),
                out_shardings=(shardings, *(NamedSharding(mesh, PartitionSpec()),) * 2),
            ),
            measure=jax.jit(functools.partial(_add_sums, plan=plan)),
        )
        while now.progress.epoch < training.epochs and not stalled(now.progress, training.patience):
            now = _after_epoch(job, _epoch(job, now))
            stop = preemption.requested(now.progress.epoch * plan.steps_per_epoch)
            if stop or now.progress.epoch % training.checkpoint_every == 0:
                _save(job, now)
            if stop:
                # Leaving the block waits until the checkpoint is on disk.
                raise preemption.Preempted(now.progress.epoch * plan.steps_per_epoch)
        if checkpoints and checkpoints.latest_step != int(now.progress.state.step):
            _save(job, now)
    return now.progress


def streamed_step(
    state: TrainState,
    totals: Metrics,
    batch: FeatureBatch,
    shared: TrainData,
    key: jax.Array,
    *,
    plan: Plan,
) -> tuple[TrainState, Metrics, jax.Array]:
    """`train_step` on one batch of stored embeddings, with the noise that `train_epoch` would draw.

    Returns:
        The next state, the totals with this step's metrics, and its loss.
    """

    def rows(array: jax.Array | None) -> Any:
        # Without the rows that only make the batch divide between devices.
        if array is None or array.shape[0] == plan.batch_size:
            return array
        cut = array[: plan.batch_size]
        if jax.sharding.get_abstract_mesh().empty:
            return cut
        return jax.lax.with_sharding_constraint(cut, PartitionSpec("data"))

    inputs, labels, positives, _ = (rows(array) for array in batch)
    data = map_inputs(shared._replace(inputs=inputs, labels=labels, positives=positives))
    begun = state.step // plan.steps_per_epoch * plan.steps_per_epoch
    step_key = jax.random.fold_in(jax.random.fold_in(key, begun), state.step)
    state, metrics = train_step(state, plan, data, step_key)
    return state, jax.tree.map(jnp.add, totals, metrics), metrics["loss"]


def _epoch(job: _Job, now: Streamed) -> Streamed:
    """The steps of an epoch that are still to do."""
    every, steps, size = job.plan.config.training.checkpoint_steps, job.order.steps, job.order.batch
    state, totals = now.progress.state, now.totals
    done = int(state.step) - now.progress.epoch * steps
    report = ProgressLine("train", "images", patience=2.0) if is_main() else None
    waiting: deque[jax.Array] = deque()
    share, first = _share(job)
    batches = feature_batches(
        job.stream.train, job.order, now.progress.epoch, first_step=done, share=share
    )
    for number, batch in enumerate(batches, done + 1):
        placed = _placed(job, batch, first)
        with jax.transfer_guard("disallow"):
            state, totals, loss = job.step(state, totals, placed, job.stream.shared, job.key)
        waiting.append(loss)
        if len(waiting) > _STEPS_AHEAD:
            jax.block_until_ready(waiting.popleft())
        now = Streamed(now.progress._replace(state=state), totals)
        if report is not None:
            report(number * size, steps * size)
        if number == steps:
            return now  # after validation it is asked whether to stop
        stop = preemption.requested(now.progress.epoch * steps + number)
        if stop or (every and number % every == 0):
            _save(job, now)
        if stop:
            raise preemption.Preempted(now.progress.epoch * steps + number)
    return now


def _after_epoch(job: _Job, now: Streamed) -> Streamed:
    progress, steps = now.progress, job.order.steps
    means = {name: total / steps for name, total in now.totals.items()}
    sums = _measure(job, progress.state.params)
    return Streamed(
        after_epoch(progress, progress.state, means, sums, job.log), _no_totals(job.mesh)
    )


def _measure(job: _Job, params: Params) -> Metrics:
    """Sums over the validation split, a batch at a time."""
    size = job.order.batch
    first, last = own_rows(size, job.mesh)
    part = min(first, size), min(last, size)
    sums = replicate({name: jnp.zeros(()) for name in ("loss", "top1", "count")}, job.mesh)
    for number, batch in enumerate(blocks_in_order(job.stream.valid, size, part=part)):
        placed = _placed(job, batch, part[0])
        sums = job.measure(sums, params, placed, job.stream.shared.input_map)
        if number % _STEPS_AHEAD == 0:
            jax.block_until_ready(sums)
    return sums


def _add_sums(sums: Metrics, params: Params, batch: FeatureBatch, mapping: Any, *, plan: Plan):
    inputs = apply_map(mapping, batch.embeddings)
    found = evaluate_sums(params, inputs, batch.labels, batch.mask, plan=plan)
    return jax.tree.map(jnp.add, sums, found)


def _share(job: _Job) -> tuple[Share, int]:
    """The lanes that hold this process's rows of every batch, and the first row of them."""
    part = job.order.part
    first, last = (min(row, job.order.batch) for row in own_rows(job.order.batch, job.mesh))
    lane = min(first // part, job.order.lanes - 1)
    return Share(lane, max(-(-last // part), lane + 1)), lane * part


def _placed(job: _Job, batch: FeatureBatch, first: int) -> FeatureBatch:
    def to_mesh(array: Any) -> Any:
        return None if array is None else place_part(array, first, job.order.batch, job.mesh)

    return FeatureBatch(*(to_mesh(array) for array in batch))


def _no_totals(mesh: Mesh) -> Metrics:
    return replicate({name: jnp.zeros((), jnp.float32) for name in _METRICS}, mesh)


def _save(job: _Job, now: Streamed) -> None:
    if job.checkpoints is None:
        return
    state, best, epoch, best_epoch, best_loss = now.progress
    metadata = {"epoch": epoch, "best_epoch": best_epoch, "best_loss": best_loss}
    job.checkpoints.save(int(state.step), (state, best, now.totals), metadata)


def _resume(checkpoints: Checkpoints, begun: Streamed) -> Streamed:
    found = checkpoints.restore((begun.progress.state, begun.progress.best, begun.totals))
    if found is None:
        return begun
    (state, best, totals), metadata = found
    logging.info("resuming after step %d", int(state.step))
    return Streamed(Progress(state, best, **metadata), totals)
