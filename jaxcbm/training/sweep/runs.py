"""Many runs of one structure under way together: what a step of `jaxcbm.training.step` becomes.

Seeds and settings are two axes of `vmap`. All settings of a seed see the same images in the same
order with the same noise, exactly as if each were run alone: what depends on the seed only stays
outside the axis of settings, so that batches are gathered, and noise is drawn, once a seed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Bottleneck, Params
from jaxcbm.distributed.placement import fetch
from jaxcbm.training.config import FitConfig
from jaxcbm.training.loop import stalled
from jaxcbm.training.step import (
    Metrics,
    Plan,
    TrainData,
    TrainState,
    ValidData,
    evaluate,
    init_state,
    make_plan,
    train_epoch,
)
from jaxcbm.training.sweep.grid import with_fields
from jaxcbm.training.sweep.tiles import Tile


class SweepProgram(NamedTuple):
    """What is static about the runs of a family."""

    bottleneck: Bottleneck
    config: FitConfig
    examples: int

    def plan(self, hyper: dict[str, jax.Array]) -> Plan:
        """The plan of one run; its configuration may hold traced numbers."""
        return make_plan(self.bottleneck, with_fields(self.config, hyper), self.examples)


class Runs(NamedTuple):
    """Runs under way; every leaf but the step is [S, H, ...]."""

    state: TrainState
    best: Params
    best_loss: jax.Array
    best_top1: jax.Array
    best_epoch: jax.Array


def _like_runs(run: Any, step: Any) -> Any:
    """One value for everything that each run has its own of, another for the common step."""
    return Runs(TrainState(run, run, step), run, run, run, run)


@functools.lru_cache(maxsize=32)
def compiled(program: SweepProgram, mesh: Mesh, tile: Tile) -> tuple[Callable, Callable]:
    """The family's two functions: the runs before the first epoch, and one epoch of all of them.

    `begin(params [S, ...], hypers [H]) -> runs [S, H, ...]` and
    `epoch(runs, hypers, keys [S], data, valid) -> (runs, metrics [S, H])`.
    """
    runs_axes = _like_runs(0, None)
    over_settings = jax.vmap(
        functools.partial(begin_one, program), in_axes=(None, 0), out_axes=runs_axes
    )
    begin = jax.vmap(over_settings, in_axes=(0, None), out_axes=runs_axes)
    over_settings = jax.vmap(
        functools.partial(epoch_of_one, program),
        in_axes=(runs_axes, 0, None, None, None),
        out_axes=(runs_axes, 0),
    )
    epoch = jax.vmap(
        over_settings, in_axes=(runs_axes, None, 0, None, None), out_axes=(runs_axes, 0)
    )
    own = NamedSharding(mesh, tile.spec(mesh))
    placed = _like_runs(own, NamedSharding(mesh, PartitionSpec()))
    return (
        jax.jit(begin, out_shardings=placed),
        jax.jit(epoch, donate_argnums=0, out_shardings=(placed, own)),
    )


def begin_one(program: SweepProgram, params: Params, hyper: dict[str, jax.Array]) -> Runs:
    """One run before its first epoch."""
    never = jnp.full((), jnp.inf), jnp.full((), jnp.nan), jnp.zeros((), jnp.int32)
    return Runs(init_state(program.plan(hyper), params), params, *never)


def epoch_of_one(
    program: SweepProgram,
    runs: Runs,
    hyper: dict[str, jax.Array],
    key: jax.Array,
    data: TrainData,
    valid: ValidData,
) -> tuple[Runs, Metrics]:
    """One epoch of one run, as `jaxcbm.training.loop.run` does it; metrics are means over steps.

    Validation goes block by block, so that it needs no more memory than a step.
    """
    plan = program.plan(hyper)
    training, done = plan.config.training, runs.state.step // plan.steps_per_epoch
    state, metrics = train_epoch(runs.state, data, key, plan=plan)
    sums = evaluate(state.params, valid, data.input_map, plan=plan, rows=plan.batch_size)
    loss, top1 = (sums[name] / sums["count"] for name in ("loss", "top1"))
    better = (loss < runs.best_loss) | (not training.keep_best)
    better &= ~stalled(done, runs.best_epoch, training.patience)
    best = jax.tree.map(
        lambda new, old: jnp.where(better, new, old),
        (state.params, loss, top1, done + 1),
        (runs.best, runs.best_loss, runs.best_top1, runs.best_epoch),
    )
    return Runs(state, *best), jax.tree.map(lambda total: total / plan.steps_per_epoch, metrics)


def all_stalled(runs: Runs, program: SweepProgram) -> bool:
    """Whether no run will find a better epoch, by its patience."""
    patience = program.config.training.patience
    if patience == 0:
        return False  # Nothing to wait for: the next epoch is dispatched at once.
    step, best_epoch = fetch((runs.state.step, runs.best_epoch))
    done = step // program.plan({}).steps_per_epoch
    return bool(np.all(stalled(done, best_epoch, patience)))
