"""`jaxcbm sweep`: a grid of settings on validation, as a table, a picture and the best one."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.processes import agree, is_main
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.config_file import settled
from jaxcbm.experiment.content_key import content_key
from jaxcbm.experiment.prepare import Prepared, prepare, require_frozen
from jaxcbm.lines import first_line
from jaxcbm.model.texts import Texts, embed_words
from jaxcbm.sealed_json import read_sealed, write_sealed
from jaxcbm.training.fit_arrays import check_features
from jaxcbm.training.sweep.grid import Grid, combinations, parse_axis, runs_of
from jaxcbm.training.sweep.ranking import Ranked, rank
from jaxcbm.training.sweep.sweep import Outcome, sweep
from jaxcbm.training.trackers import tracking
from jaxcbm.typed_json import to_json

# Axes outside of the fit: each of their values has features or texts of its own.
SOURCES = ("concepts", "concept_count", "encoder.name")
EXAMPLE = "--grid.training.cbl.learning_rate=1e-4,1e-3 --grid.training.seed=0,1,2"


class Swept(NamedTuple):
    """What a sweep found.

    Attributes:
        ranked: the settings from best to worst.
        about: what they are settings of: encoder, concepts, splits, grid, runs, seconds.
    """

    ranked: list[Ranked]
    about: dict[str, Any]


def run(
    config: Experiment | Named,
    workdir: Path | str,
    axes: Sequence[str] | Grid,
    memory_gib: float | None = None,
    changes: Changes | None = None,
) -> Swept:
    """Train the grid, or what is missing of it.

    The work directory belongs to one config; the grid may grow from call to call.

    Args:
        config: the settings that the grid does not say: the name or path of a config file, nested
            dicts, or an `Experiment`.
        workdir: gets runs/, one file a finished tile.
        axes: path of a field -> its values, such as `{"training.seed": range(3)}`; or
            `--grid.a.b=V1,V2` as typed. Those of `SOURCES` (sets of phrases, their sizes, encoders)
            are prepared one by one, and all settings are ranked together.
        memory_gib: how much the sweep may take on each device.
        changes: path of a field -> its new value, for all runs.

    Raises:
        UserError: no grid, or a field that cannot be on one.
    """
    grid = parse_grid(axes)
    experiment, workdir = read_experiment(config, changes), Path(workdir)
    require_frozen(experiment, "sweep")
    inner = {path: values for path, values in grid.items() if path not in SOURCES}
    outer = {path: values for path, values in grid.items() if path in SOURCES}
    runs_of(experiment.fit, inner)  # a mistake shows before hours of encoding
    started, outcomes, sources = time.perf_counter(), [], []
    with settled(workdir, asdict(experiment)):
        for source in combinations(outer):
            found, about = _sweep_one(
                read_experiment(experiment, source), inner, workdir, memory_gib=memory_gib
            )
            outcomes += [run._replace(setting={**source, **run.setting}) for run in found]
            sources.append({"setting": source, **about})
    ranked = rank(outcomes)
    best = ranked[0].setting
    about = next(each for each in sources if each["setting"].items() <= best.items())
    about = {name: value for name, value in about.items() if name != "setting"}
    about |= {"sources": sources} if outer else {}
    about |= {"grid": grid, "runs": len(outcomes), "seconds": time.perf_counter() - started}
    return Swept(ranked, about)


def _sweep_one(
    experiment: Experiment, grid: Grid, workdir: Path, *, memory_gib: float | None
) -> tuple[list[Outcome], dict[str, Any]]:
    """All runs of a grid on one encoder's features and one set of phrases, and which these are."""
    wanted = runs_of(experiment.fit, grid)
    prepared = prepare(experiment, workdir)
    about = _about(prepared)
    done = read_runs(workdir / "runs", about)
    agree("the finished runs that they see", " ".join(sorted(done)))
    if left := len(wanted.keys() - done.keys()):
        logging.info("%d runs, %d of them are there already", len(wanted), len(wanted) - left)
    mesh = experiment.fit.mesh
    tiles = sweep(
        *prepared.splits[:2],
        _texts(prepared),
        config=experiment.fit,
        grid=grid,
        mesh=make_mesh(mesh.data, mesh.model),
        memory=None if memory_gib is None else int(memory_gib * 2**30),
        finished=done.keys(),
    )
    with tracking(workdir if is_main() else None, len(done)) as track:
        for outcomes in tiles:
            if is_main():
                write_runs(workdir / "runs", outcomes, about)
            for outcome in outcomes:
                done[outcome.key] = outcome
                reached = {"top1": outcome.valid_top1, "loss": outcome.valid_loss}
                track(len(done), "valid", reached)
    return [done[key]._replace(setting=setting) for key, setting in wanted.items()], about


def parse_grid(axes: Sequence[str] | Grid) -> dict[str, tuple[Any, ...]]:
    """Axes from `--grid.a.b=V1,V2`, or from the values themselves.

    Raises:
        UserError: none at all, one twice, one without values, or a field that has no such values.

    >>> parse_grid(["--grid.training.seed=0,1"])
    {'training.seed': (0, 1)}
    >>> parse_grid({"training.head.learning_rate": [1e-4, 1]})
    {'training.head.learning_rate': (0.0001, 1.0)}
    """
    if not axes:
        raise UserError(f"a sweep needs a grid: {EXAMPLE}")
    # Only what is typed has commas between values: a name may hold one.
    typed = (
        {path: [str(value) for value in values] for path, values in axes.items()}
        if isinstance(axes, Mapping)
        else _split(axes)
    )
    for path, values in typed.items():
        if not values:
            raise UserError(f"--grid.{path}: give the grid at least one value")
    return {
        path: parse_source(path, values) if path in SOURCES else parse_axis(path, values)
        for path, values in typed.items()
    }


def _split(axes: Sequence[str]) -> dict[str, list[str]]:
    """`--grid.a.b=V1,V2` as path -> values."""
    found: dict[str, list[str]] = {}
    for axis in axes:
        path, equals, values = axis.removeprefix("--grid.").partition("=")
        if not equals or not values:
            raise UserError(f"{axis}: give values with =, as in --grid.{path}=V1,V2")
        if path in found:
            raise UserError(f"--grid.{path} is there twice: put all its values in one")
        found[path] = [value.strip() for value in values.split(",")]
    return found


def parse_source(path: str, texts: Sequence[str]) -> tuple[Any, ...]:
    """The values of one of `SOURCES`: names and files as they are, sizes as whole numbers.

    Raises:
        UserError: a size that is none.

    >>> parse_source("concepts", ["birds", "a,b.txt"]), parse_source("concept_count", ["10", "20"])
    (('birds', 'a,b.txt'), (10, 20))
    """
    values = tuple(dict.fromkeys(texts))
    if path != "concept_count":
        return values
    if wrong := [value for value in values if not value.isdecimal()]:
        raise UserError(f"concept_count: {wrong[0]!r} is no number of phrases")
    return tuple(map(int, values))


def _texts(prepared: Prepared) -> Texts:
    train, valid, _ = prepared.splits
    check_features(train, valid, prepared.encoder, prepared.concepts, train.classes)
    return embed_words(prepared.encoder, prepared.concepts, train.classes)


def _about(prepared: Prepared) -> dict[str, Any]:
    """What runs are runs of; those of other data, phrases or code are no use."""
    splits = prepared.splits
    return {
        "content": content_key(prepared.encoder, prepared.concepts, splits[:2]),
        "encoder": prepared.encoder.content_hash,
        "concepts": {"count": len(prepared.concepts), "hash": prepared.concepts.content_hash},
        "train": {"images": len(splits.train), "key": splits.train.key},
        "valid": {"images": len(splits.valid), "key": splits.valid.key},
    }


def read_runs(folder: Path, about: dict[str, Any]) -> dict[str, Outcome]:
    """Finished runs by key."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        try:
            tile = read_sealed(file, always=True)
        except (OSError, ValueError) as error:
            logging.warning("%s is damaged (%s): its runs are run again", file, first_line(error))
            continue
        if tile["about"] == about:
            outcomes = (Outcome(**_numbers(run)) for run in tile["runs"])
            found |= {outcome.key: outcome for outcome in outcomes}
    return found


def write_runs(folder: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    """One file a finished tile."""
    # Runs of other phrases or another encoder have the same keys.
    told = json.dumps(about, sort_keys=True) + "".join(outcome.key for outcome in outcomes)
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    runs = [outcome._asdict() for outcome in outcomes]
    write_sealed(folder / f"{name}.json", to_json({"about": about, "runs": runs}))


def _numbers(run: dict[str, Any]) -> dict[str, Any]:
    """A run as it was before `to_json`."""
    measured = ("valid_loss", "valid_top1", "train_loss")
    return run | {name: math.nan for name in measured if run[name] is None}
