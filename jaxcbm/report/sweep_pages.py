"""What is written of a sweep: tables for people and programs, and one picture."""

import csv
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxcbm.atomic import atomic_file, write_json, write_text
from jaxcbm.lines import aligned
from jaxcbm.pages import render
from jaxcbm.report.sweep_plot import Point, short, show, sweep_plot
from jaxcbm.report.tables import Cell, Group, Table
from jaxcbm.training.sweep.ranking import Ranked
from jaxcbm.typed_json import to_json


def write_results(workdir: Path, ranked: Sequence[Ranked], about: dict[str, Any]) -> None:
    """sweep.csv, sweep.md, sweep.json and plots/sweep.png."""
    with (
        atomic_file(workdir / "sweep.csv") as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows(_rows(ranked))
    write_text(workdir / "sweep.md", markdown(ranked, about))
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
    write_json(workdir / "sweep.json", to_json(whole))
    (workdir / "plots").mkdir(exist_ok=True)
    points = [Point(own.setting, own.top1, own.top1_deviation) for own in ranked]
    sweep_plot(points, workdir / "plots" / "sweep.png")


def overrides(best: Ranked) -> list[str]:
    """What to add to `jaxcbm train` for a setting; the seed stays the config's own."""
    return [f"--config.{path}={value}" for path, value in best.setting.items()]


def table(ranked: Sequence[Ranked], most: int = 10) -> str:
    """The best settings as aligned lines."""
    return "\n".join(aligned(_cells(ranked[:most])))


def markdown(ranked: Sequence[Ranked], about: dict[str, Any]) -> str:
    """sweep.md: every setting from best to worst."""
    header, *lines = _cells(ranked)
    group = Group("", tuple(tuple(map(Cell, line)) for line in lines))
    table = Table("Settings", tuple(header), (group,))
    return render("sweep.md", table=table, about=about, best=" ".join(overrides(ranked[0])))


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
