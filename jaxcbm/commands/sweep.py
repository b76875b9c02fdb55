"""`jaxcbm sweep`: a grid of settings on validation, as a table, a picture and the best one."""

import csv
import hashlib
import json
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.commands.config_file import settle_workdir
from jaxcbm.commands.experiment import Prepared, prepare, read_experiment, require_frozen
from jaxcbm.distributed.processes import agree, is_main
from jaxcbm.errors import UserError
from jaxcbm.evaluation.sweep_plot import Point, short, show, sweep_plot
from jaxcbm.training.grid import parse_axis, runs_of
from jaxcbm.training.ranking import Ranked, rank
from jaxcbm.training.sweep import Outcome, sweep

EXAMPLE = "--grid.training.cbl.learning_rate=1e-4,1e-3 --grid.training.seed=0,1,2"


def run(
    config: dict[str, Any], workdir: Path, axes: Sequence[str], memory_gib: float | None = None
) -> list[Ranked]:
    """Train the grid, or what is missing of it, and write what came of it.

    The work directory belongs to one config; the grid may grow from call to call.

    Args:
        config: the settings that the grid does not say.
        workdir: gets runs/ (one file a finished tile), sweep.csv, sweep.md, sweep.json and
            plots/sweep.png.
        axes: `--grid.a.b=V1,V2` as typed.
        memory_gib: how much the sweep may take on each device.

    Returns:
        The settings from best to worst.
    """
    grid = parse_grid(axes)
    experiment = read_experiment(config)
    require_frozen(experiment, "sweep")
    wanted = runs_of(experiment.fit, grid)
    settle_workdir(workdir, config)
    prepared = prepare(experiment, workdir)
    about = _about(prepared)
    done = read_runs(workdir / "runs", about)
    agree("the finished runs that they see", " ".join(sorted(done)))
    if left := len(wanted.keys() - done.keys()):
        logging.info("%d runs, %d of them are there already", len(wanted), len(wanted) - left)
    started = time.perf_counter()
    for outcomes in sweep(
        prepared.splits.train,
        prepared.splits.valid,
        encoder=prepared.encoder,
        concepts=prepared.concepts,
        config=experiment.fit,
        grid=grid,
        memory=None if memory_gib is None else int(memory_gib * 2**30),
        finished=done.keys(),
    ):
        if is_main():
            write_runs(workdir / "runs", outcomes, about)
        done |= {outcome.key: outcome for outcome in outcomes}
    ranked = rank([done[key]._replace(setting=setting) for key, setting in wanted.items()])
    about |= {"grid": grid, "runs": len(wanted), "seconds": time.perf_counter() - started}
    if is_main():
        write_results(workdir, ranked, about)
    return ranked


def parse_grid(axes: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Axes from `--grid.a.b=V1,V2`.

    Raises:
        UserError: none at all, one twice, one without values, or a field that has no such values.

    >>> parse_grid(["--grid.training.seed=0,1"])
    {'training.seed': (0, 1)}
    """
    if not axes:
        raise UserError(f"a sweep needs a grid: {EXAMPLE}")
    grid = {}
    for axis in axes:
        path, equals, values = axis.removeprefix("--grid.").partition("=")
        if not equals or not values:
            raise UserError(f"{axis}: give values with =, as in --grid.{path}=V1,V2")
        if path in grid:
            raise UserError(f"--grid.{path} is there twice: put all its values in one")
        grid[path] = parse_axis(path, values)
    return grid


def _about(prepared: Prepared) -> dict[str, Any]:
    """What runs are runs of; those of other data or phrases are no use."""
    splits = prepared.splits
    return {
        "encoder": prepared.encoder.content_hash,
        "concepts": {"count": len(prepared.concepts), "hash": prepared.concepts.content_hash},
        "train": {"images": len(splits.train), "key": splits.train.key},
        "valid": {"images": len(splits.valid), "key": splits.valid.key},
    }


def read_runs(folder: Path, about: dict[str, Any]) -> dict[str, Outcome]:
    """Finished runs by key."""
    found = {}
    for file in sorted(folder.glob("*.json")):
        tile = json.loads(file.read_text(encoding="utf-8"))
        if tile["about"] == about:
            outcomes = (Outcome(**_numbers(run)) for run in tile["runs"])
            found |= {outcome.key: outcome for outcome in outcomes}
    return found


def write_runs(folder: Path, outcomes: Sequence[Outcome], about: dict[str, Any]) -> None:
    """One file a finished tile."""
    name = hashlib.sha256("".join(outcome.key for outcome in outcomes).encode()).hexdigest()[:16]
    runs = [outcome._asdict() for outcome in outcomes]
    write_json(folder / f"{name}.json", _plain({"about": about, "runs": runs}))


def write_results(workdir: Path, ranked: Sequence[Ranked], about: dict[str, Any]) -> None:
    """sweep.csv, sweep.md, sweep.json and plots/sweep.png."""
    with (
        atomic_file(workdir / "sweep.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(_rows(ranked))
    with atomic_file(workdir / "sweep.md") as temporary:
        temporary.write_text(markdown(ranked, about), encoding="utf-8")
    best = {"setting": ranked[0].setting, "overrides": overrides(ranked[0])}
    settings = [
        own._asdict() | {"runs": [outcome._asdict() for outcome in own.runs]} for own in ranked
    ]
    hardware = {
        "platform": jax.default_backend(),
        "devices": jax.device_count(),
        "machine": platform.machine(),
    }
    whole = {**about, "hardware": hardware, "best": best, "settings": settings}
    write_json(workdir / "sweep.json", _plain(whole))
    (workdir / "plots").mkdir(exist_ok=True)
    points = [Point(own.setting, own.top1, own.top1_deviation) for own in ranked]
    sweep_plot(points, workdir / "plots" / "sweep.png")


def overrides(best: Ranked) -> list[str]:
    """What to add to `jaxcbm train` for a setting; the seed stays the config's own."""
    return [f"--config.{path}={value}" for path, value in best.setting.items()]


def table(ranked: Sequence[Ranked], most: int = 10) -> str:
    """The best settings as aligned lines."""
    header, *lines = _cells(ranked[:most])
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *lines)
    )


def markdown(ranked: Sequence[Ranked], about: dict[str, Any]) -> str:
    """sweep.md: every setting from best to worst."""
    header, *lines = _cells(ranked)
    rule = "|" + "---|" * len(header)
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join(
        [
            "# Sweep",
            "",
            f"{about['runs']} runs; validation of the epoch with the lowest validation loss, mean "
            "and sample deviation over seeds; the trained head, before any sparse path. "
            f"{about['train']['images']} train and {about['valid']['images']} validation images, "
            f"{about['concepts']['count']} concepts ({about['concepts']['hash'][:12]}).",
            "",
            f"| {' | '.join(header)} |",
            rule,
            *rows,
            "",
            f"The best: `{' '.join(overrides(ranked[0]))}`",
            "",
        ]
    )


def _axes(ranked: Sequence[Ranked]) -> list[str]:
    return list(dict.fromkeys(path for own in ranked for path in own.setting))


def _cells(ranked: Sequence[Ranked]) -> list[list[str]]:
    """Header and rows for people."""
    axes = _axes(ranked)
    header = [*map(short, axes), "top-1", "loss", "best epoch", "seeds"]
    return [header] + [
        [
            *(show(own.setting.get(axis)) for axis in axes),
            _spread(own.top1, own.top1_deviation),
            _spread(own.loss, own.loss_deviation),
            show(sum(run.best_epoch for run in own.runs) / len(own.runs)),
            str(len(own.runs)),
        ]
        for own in ranked
    ]


def _rows(ranked: Sequence[Ranked]) -> list[list[Any]]:
    """Header and rows for programs."""
    axes = _axes(ranked)
    measured = ("top1", "top1_deviation", "loss", "loss_deviation")
    header = ["rank", *axes, *(f"valid_{name}" for name in measured), "seeds"]
    return [header] + [
        [
            place,
            *(own.setting.get(axis, "") for axis in axes),
            *(getattr(own, name) for name in measured),
            len(own.runs),
        ]
        for place, own in enumerate(ranked, 1)
    ]


def _spread(mean: float, deviation: float) -> str:
    if not math.isfinite(mean):
        return "diverged"
    return f"{mean:.4f}" + (f" ± {deviation:.4f}" if math.isfinite(deviation) else "")


def _plain(value: Any) -> Any:
    """For JSON, which knows no infinite numbers: null in their place."""
    if isinstance(value, dict):
        return {name: _plain(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(run: dict[str, Any]) -> dict[str, Any]:
    """A run as it was before `_plain`."""
    measured = ("valid_loss", "valid_top1", "train_loss")
    return run | {name: math.nan for name in measured if run[name] is None}
