"""The training loop: units of work from a feed, the best epoch, checkpoints, resuming, stopping.

Every training runs through `run`: epochs in memory and batches from a store (`feeds`), pixels
(`finetune.feed`), pairs (`pretrain`). A feed says what a unit of work is; the loop does the rest.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck.model import Params
from jaxcbm.data.progress import ProgressLine, in_notebook
from jaxcbm.distributed import preemption
from jaxcbm.distributed.placement import fetch, replicate
from jaxcbm.distributed.processes import is_main, main_alone
from jaxcbm.errors import UserError
from jaxcbm.training.checkpoints import Checkpoints
from jaxcbm.training.metrics_log import MetricsLog
from jaxcbm.training.step import Metrics, TrainState
from jaxcbm.training.trackers import Track, tracking

# Units that are handed to the device before the first of them is done: one works, one waits.
_UNITS_AHEAD = 2


class Unit(NamedTuple):
    """One call of a feed's compiled step.

    Attributes:
        steps: optimizer steps in it.
        arguments: of the step, after state and totals; on the mesh.
    """

    steps: int
    arguments: tuple[Any, ...]


class Feed(NamedTuple):
    """Where the work of a run comes from.

    Attributes:
        units: called with (epoch, first, last); the units of the epoch's steps `first` to `last`
            (excluded), in an order that depends on these numbers alone.
        step: compiled; (state, totals, *arguments) to (state, totals with the unit's metrics). It
            overwrites the state that it is given.
        metrics: names of the totals.
        measure: parameters to masked sums over validation (`loss`, `top1`, `count`); None without
            validation, where the last parameters are the result.
        steps_per_epoch: steps of a whole epoch.
        batch_size: images a step.
    """

    units: Callable[[int, int, int], Iterable[Unit]]
    step: Any
    metrics: tuple[str, ...]
    measure: Callable[[Params], Metrics] | None
    steps_per_epoch: int
    batch_size: int


class Progress(NamedTuple):
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
    """What is constant during a run."""

    feed: Feed
    steps: int
    checkpoint_every: int
    keep_best: bool
    identity: Mapping[str, Any]
    checkpoints: Checkpoints | None
    log: MetricsLog
    timing: MetricsLog
    no_totals: Metrics
    line: ProgressLine | None


def run(
    feed: Feed,
    state: TrainState,
    mesh: Mesh,
    *,
    steps: int,
    keep_best: bool = True,
    patience: int = 0,
    checkpoint_every: int = 0,
    workdir: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    measure_start: bool = False,
) -> Progress:
    """Train until the last step or until validation stops improving.

    With a work directory the run resumes at its newest checkpoint, to the same result as an
    undisturbed run on the same devices. Where several processes run together, all of them call
    this with the same arguments, and one of them writes the metrics.

    Args:
        feed: the work.
        state: before the first step, on the mesh; it is overwritten.
        mesh: where everything lives.
        steps: optimizer steps in all.
        keep_best: whether an epoch counts as the best only where its validation loss is the lowest
            so far; else every epoch does, so that the last one is kept.
        patience: epochs without a better validation loss before stopping; 0 never stops early.
        checkpoint_every: steps between checkpoints, rounded up to whole units; 0 keeps the end
            (and where it was asked to stop) alone.
        workdir: folder for checkpoints/, metrics.jsonl and timing.jsonl, which all processes see;
            None keeps nothing.
        identity: what the steps depend on besides this state, as JSON; a checkpoint of another
            identity is refused.
        measure_start: whether the start is a candidate for the best epoch.

    Returns:
        The last progress; its `best` holds the chosen parameters.

    Raises:
        UserError: the work directory holds a run of another identity.
        Preempted: the run was asked to stop, and has saved its last unit.
    """
    best = jax.tree.map(jnp.copy, state.params) if feed.measure else {}
    # Steps do not overwrite totals, so every epoch begins with these.
    no_totals = replicate({name: jnp.zeros((), jnp.float32) for name in feed.metrics}, mesh)
    now = Progress(state, best, no_totals)
    kept = Checkpoints(workdir / "checkpoints") if workdir else nullcontext()
    # Leaving the block, by an exception too, waits until checkpoints are on disk.
    with kept as checkpoints, jax.set_mesh(mesh), ExitStack() as stack:
        written = None
        if checkpoints:
            now, written = _resume(checkpoints, now, dict(identity or {}), workdir)
        step = int(now.state.step)
        mine = workdir if is_main() else None
        track = stack.enter_context(tracking(mine, step))
        logs = main_alone("logs", lambda: _logs(workdir, step, written, track))
        log, timing = logs or _logs(None, 0)
        heard = is_main() and (logging.level_info() or in_notebook())
        line = ProgressLine("train", "images") if heard else None
        how = steps, checkpoint_every, keep_best, dict(identity or {}), checkpoints
        job = _Run(feed, *how, log, timing, no_totals, line)
        _report(job, now, step)
        if measure_start and step == 0:
            _, measured = _fetched(job, {}, now.state.params)
            log.write(0, 0, "valid", measured)
            now = now._replace(best_loss=measured["loss"])
        while step < steps and not stalled(now.epoch, now.best_epoch, patience):
            now, step = _epoch(job, now, step)
        _report(job, now, step, over=True)
        if checkpoints and checkpoints.latest_step != step:
            _save(job, now, step)
    return now


def stalled(epoch: Any, best_epoch: Any, patience: int) -> Any:
    """Whether validation has not improved for `patience` epochs; 0 never stops.

    Args:
        epoch: epochs done; a number or an array of them.
        best_epoch: the epoch with the lowest validation loss so far.
        patience: epochs.

    >>> stalled(5, 2, patience=3), stalled(5, 2, patience=4), stalled(5, 2, patience=0)
    (True, False, False)
    """
    return (patience > 0) & (epoch - best_epoch >= patience)


def _epoch(job: _Run, now: Progress, step: int) -> tuple[Progress, int]:
    """The steps of an epoch that are still to do."""
    begin = now.epoch * job.feed.steps_per_epoch
    end = min(begin + job.feed.steps_per_epoch, job.steps)
    waiting: deque[jax.Array] = deque()
    started, first = time.monotonic(), step
    for unit in job.feed.units(now.epoch, step - begin, end - begin):
        with jax.transfer_guard("disallow"):
            state, totals = job.feed.step(now.state, now.totals, *unit.arguments)
        now, step = now._replace(state=state, totals=totals), step + unit.steps
        waiting.append(totals[job.feed.metrics[0]])
        if len(waiting) > _UNITS_AHEAD:
            jax.block_until_ready(waiting.popleft())
        if step == end:
            # Where a whole epoch is one unit, its validation is dispatched before it is done.
            if unit.steps < job.feed.steps_per_epoch:
                jax.block_until_ready(now.totals)
            seconds = time.monotonic() - started
            now = _close_epoch(job, now, step)
            if unit.steps == job.feed.steps_per_epoch:
                seconds = time.monotonic() - started
            rate = (step - first) * job.feed.batch_size / max(seconds, 1e-9)
            told = {"seconds_a_step": seconds / (step - first), "images_a_second": rate}
            job.timing.write(step, now.epoch, "train", {**told, "time": time.time()})
        _report(job, now, step)
        every = job.checkpoint_every
        stop = preemption.requested(step)
        if stop or (every and step // every > (step - unit.steps) // every):
            _save(job, now, step)
        if stop:
            raise preemption.Preempted(step)
    return now, step


def _close_epoch(job: _Run, now: Progress, step: int) -> Progress:
    """Log an epoch, and keep its parameters if no epoch before was better."""
    totals, measured = _fetched(job, now.totals, now.state.params)
    count = np.float32(step - now.epoch * job.feed.steps_per_epoch)
    now = now._replace(totals=job.no_totals, epoch=now.epoch + 1)
    means = {name: float(total / count) for name, total in totals.items()}
    job.log.write(step, now.epoch, "train", means)
    if not measured:
        return now
    job.log.write(step, now.epoch, "valid", measured)
    if job.keep_best and not measured["loss"] < now.best_loss:
        return now
    best = jax.tree.map(jnp.copy, now.state.params)
    return now._replace(best=best, best_epoch=now.epoch, best_loss=measured["loss"])


def _fetched(job: _Run, totals: Metrics, params: Params) -> tuple[Metrics, dict[str, float]]:
    """Totals on the host, and validation's means; validation is dispatched before any waiting."""
    sums = job.feed.measure(params) if job.feed.measure else {}
    totals, sums = fetch((totals, sums))
    means = {name: float(sums[name]) / float(sums["count"]) for name in ("loss", "top1") if sums}
    return totals, means


def _report(job: _Run, now: Progress, step: int, over: bool = False) -> None:
    """Say how far the run is; a run that stops early is done where it stops."""
    if job.line is None:
        return
    epochs = -(-job.steps // job.feed.steps_per_epoch)
    note = f"epoch {now.epoch} of {epochs}"
    if np.isfinite(now.best_loss):
        note += f", best {now.best_epoch} (validation loss {now.best_loss:.4f})"
    size = job.feed.batch_size
    if over or step < job.steps:
        job.line(step * size, (step if over else job.steps) * size, note)


def _save(job: _Run, now: Progress, step: int) -> None:
    if job.checkpoints is None:
        return
    metadata = {
        "epoch": now.epoch,
        "best_epoch": now.best_epoch,
        "best_loss": now.best_loss,
        "identity": job.identity,
        "log": job.log.hash,
    }
    job.checkpoints.save(step, (now.state, now.best, now.totals), metadata)


def _logs(
    workdir: Path | None, step: int, written: str | None = None, track: Track | None = None
) -> tuple[MetricsLog, MetricsLog]:
    """The metrics and the times of a run up to a step; without a work directory none are kept."""
    log = MetricsLog(workdir and workdir / "metrics.jsonl", step, written, track)
    return log, MetricsLog(workdir and workdir / "timing.jsonl", step, track=track)


def _resume(
    checkpoints: Checkpoints, fresh: Progress, identity: dict[str, Any], workdir: Path | None
) -> tuple[Progress, str | None]:
    """Where the newest whole checkpoint left off, and the hash of the log until then."""
    found = checkpoints.restore(
        (fresh.state, fresh.best, fresh.totals),
        lambda said: check_identity(said["identity"], identity, workdir),
    )
    if found is None:
        return fresh, None
    (state, best, totals), metadata = found
    del metadata["identity"]
    log = metadata.pop("log")
    logging.info("resuming after step %d", int(state.step))
    return Progress(state, best, totals, **metadata), log


def check_identity(kept: Mapping[str, Any], now: Mapping[str, Any], workdir: Path | None) -> None:
    """Refuse to continue a run with other data, or on another encoder, than it began with.

    Raises:
        UserError: names the first difference.

    >>> check_identity({"rows": 203}, {"rows": 100}, Path("runs/a"))
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: runs/a was begun with rows=203, now it is 100: keep it, or choose ...
    """
    for name in [*now, *kept]:
        if kept.get(name) != now.get(name):
            raise UserError(
                f"{workdir} was begun with {name}={kept.get(name)}, now it is {now.get(name)}: "
                "keep it, or choose another --workdir"
            )
