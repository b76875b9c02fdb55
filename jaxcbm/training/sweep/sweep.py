"""A grid of fits: one compiled program a structure, tile by tile within a budget of memory."""

import functools
from collections.abc import Collection, Iterator
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck.model import Params
from jaxcbm.data.features import Features
from jaxcbm.distributed.placement import fetch, replicate
from jaxcbm.model.texts import Texts
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit_arrays import FitArrays, fit_arrays, source_of, split_arrays, start
from jaxcbm.training.sweep.grid import (
    Family,
    Grid,
    Setting,
    families,
    get_field,
    keys_of,
    members,
    with_fields,
)
from jaxcbm.training.sweep.runs import Runs, SweepProgram, all_stalled, begin_one, compiled
from jaxcbm.training.sweep.tiles import Cost, choose_tile, default_budget

LEARNING_RATE = "training.cbl.learning_rate"


class Outcome(NamedTuple):
    """One run of a grid.

    Attributes:
        key: identifies the run: a hash of its whole configuration.
        setting: the grid's fields with their values, the seed among them.
        valid_loss: the lowest validation loss; infinite if it never was finite.
        valid_top1: validation accuracy of that epoch, 0 to 1.
        best_epoch: that epoch (1 is the first, 0 is none).
        train_loss: mean cross-entropy of the last epoch.
        params: parameters of the best epoch, where they were asked for.
    """

    key: str
    setting: Setting
    valid_loss: float
    valid_top1: float
    best_epoch: int
    train_loss: float
    params: dict[str, np.ndarray] | None = None


def sweep(
    train: Features,
    valid: Features,
    texts: Texts,
    *,
    config: FitConfig,
    grid: Grid,
    mesh: Mesh,
    memory: int | None = None,
    finished: Collection[str] = (),
    keep_params: bool = False,
) -> Iterator[list[Outcome]]:
    """Train every setting of a grid on a frozen encoder's features, tile by tile.

    Each run gives what `jaxcbm.training.fit.fit_features` gives for the same configuration, up to
    rounding. The head is the trained one: no sparse path is solved.

    Args:
        train: features to train on.
        valid: features that choose each run's best epoch.
        texts: phrases and class names with their embeddings.
        config: what the grid does not say.
        grid: path of a field -> its values, as in `{"training.cbl.learning_rate": (1e-4, 1e-3)}`.
        mesh: the runs are divided between all of its devices.
        memory: bytes that the sweep may take on each device; by default most of what is free.
        finished: keys of runs that are not wanted; a tile with no other run is left out.
        keep_params: whether outcomes hold parameters.

    Yields:
        The outcomes of each tile when it is done.

    Raises:
        UserError: a field that cannot be on a grid, or not even one run fits in the memory.
    """
    memory = default_budget(mesh) if memory is None else memory
    parts = families(config, grid)
    for number, family in enumerate(parts, 1):
        if all(key in finished for key in keys_of(family)):
            continue
        logging.info("program %d of %d: %s", number, len(parts), _describe(family.structure))
        bottleneck = family.config.bottleneck
        source = source_of(bottleneck, train, texts.phrases)
        splits = split_arrays(train, source, texts.phrases), split_arrays(valid)
        arrays = fit_arrays(bottleneck, texts, *splits, source)
        sizes = len(texts.phrases), len(texts.classes)
        yield from run_family(family, arrays, sizes, mesh, memory, finished, keep_params)


def run_family(
    family: Family,
    arrays: FitArrays,
    sizes: tuple[int, int],
    mesh: Mesh,
    memory: int,
    finished: Collection[str] = (),
    keep_params: bool = False,
) -> Iterator[list[Outcome]]:
    """The tiles of one family; `sizes` are the numbers of concepts and classes."""
    starts = [start(family.config.bottleneck, arrays.inputs, *sizes, s) for s in family.seeds]
    program = SweepProgram(starts[0][0], family.config, len(arrays.data.labels))
    shape = len(family.seeds), len(family.settings)
    cost = estimate_cost(program, starts[0][1], arrays)
    tile = choose_tile(*shape, devices=mesh.size, cost=cost, budget=memory)
    begin, epoch = compiled(program, mesh, tile)
    data, valid = replicate((arrays.data, arrays.valid), mesh)
    slots = list(product(_parts(shape[0], tile.seeds), _parts(shape[1], tile.settings)))
    for number, (seeds_S, settings_H) in enumerate(slots, 1):
        named = members(family, seeds_S, settings_H)
        if all(key in finished for key, _ in named.values()):
            continue
        logging.info("tile %d of %d: %d runs at once", number, len(slots), len(named))
        hypers = hypers_of(family, settings_H)
        keys_S = jnp.stack([jax.random.key(family.seeds[s]) for s in seeds_S])
        params = jax.tree.map(lambda *x: np.stack(x), *(starts[s][1] for s in seeds_S))
        params, hypers, keys_S = replicate((params, hypers, keys_S), mesh)
        runs = begin(params, hypers)
        metrics = {"loss": np.full((tile.seeds, tile.settings), np.nan)}
        for _ in range(family.config.training.epochs):
            with jax.transfer_guard("disallow"):
                runs, metrics = epoch(runs, hypers, keys_S, data, valid)
            if all_stalled(runs, program):
                break
        yield _outcomes(named, runs, metrics["loss"], keep_params)


def estimate_cost(program: SweepProgram, params: Params, arrays: FitArrays) -> Cost:
    """Bytes that a family takes on one device, from shapes alone."""
    plan = program.plan({})
    runs = jax.eval_shape(functools.partial(begin_one, program), params, {})
    depth, classes = params["head.kernel"].shape
    weights = _bytes(params)
    # Activations, their gradients and what the softmaxes need, all alive at once in the worst case.
    batch = 4 * plan.batch_size * (6 * depth + 6 * classes)
    width = arrays.inputs.width
    seed = 4 * plan.batch_size * (2 * width + 4 * depth) + 4 * 4 * plan.examples
    shared = _bytes((arrays.data, arrays.valid))
    return Cost(shared=shared, seed=seed, member=2 * _bytes(runs) + 2 * weights + batch)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _parts(count: int, size: int) -> list[list[int]]:
    """Positions in equal parts; the last part repeats its last position to be as long."""
    parts = [list(range(first, min(first + size, count))) for first in range(0, count, size)]
    return [part + part[-1:] * (size - len(part)) for part in parts]


def hypers_of(family: Family, positions: list[int]) -> dict[str, jax.Array]:
    """The traced numbers of some settings, float32 [H] each; at least one, to map over."""
    paths = dict.fromkeys([LEARNING_RATE, *family.settings[0]])
    whole = [with_fields(family.config, family.settings[h]) for h in positions]
    return {
        path: jnp.asarray([get_field(config, path) for config in whole], jnp.float32)
        for path in paths
    }


def _outcomes(
    named: dict[tuple[int, int], tuple[str, Setting]],
    runs: Runs,
    train_loss: jax.Array | np.ndarray,
    keep_params: bool,
) -> list[Outcome]:
    """What to keep of a tile; only that leaves the devices."""
    kept = runs.best_loss, runs.best_top1, runs.best_epoch, train_loss
    loss, top1, epoch, train_loss = fetch(kept)
    best = fetch(runs.best) if keep_params else {}
    return [
        Outcome(
            key,
            setting,
            float(loss[place]),
            float(top1[place]),
            int(epoch[place]),
            float(train_loss[place]),
            {path: value[place] for path, value in best.items()} if keep_params else None,
        )
        for place, (key, setting) in named.items()
    ]


def _describe(structure: Setting) -> str:
    return ", ".join(f"{path}={value}" for path, value in structure.items()) or "one structure"
