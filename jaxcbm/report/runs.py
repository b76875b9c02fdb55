"""Finished runs and sweeps side by side: what differs between them, and what they reached."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from jaxcbm.csv_text import as_csv
from jaxcbm.errors import UserError
from jaxcbm.experiment.config_file import settings_of_run
from jaxcbm.experiment.run_metrics import read_run_metrics
from jaxcbm.json_text import parse_json
from jaxcbm.lines import aligned, first_line
from jaxcbm.pages import render
from jaxcbm.report.metric_names import METRICS, metric, summarise
from jaxcbm.report.sweep_plot import short
from jaxcbm.report.tables import Cell, Group, Table, marked

TITLE = "Concept bottleneck models: runs"
# What a terminal has room for.
SHORT = ("top1", "anec", "nec", "explanation_truth_5", "concept_auc", "ece")
_WIDEST = 72
_SEED = "training.seed"
# Where things lie, which makes no other run.
_PLACES = ("features", "data.root", "data.tfds_data_dir")


class Run(NamedTuple):
    """A finished work directory, or one seed of the best setting of a sweep.

    Attributes:
        name: of its folder.
        data: what its numbers were measured on, in words.
        settings: path of a field -> value, those of places left out.
        seed: `training.seed`; None where nobody says.
        values: metric -> value.
    """

    name: str
    data: str
    settings: Mapping[str, Any]
    seed: Any
    values: Mapping[str, float]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The finished runs among some folders, and right beneath those that are none.

    Raises:
        UserError: none is finished, or a file of one is damaged.
    """
    found: dict[Path, list[Run]] = {}
    for folder in folders:
        inner = sorted(folder.iterdir()) if folder.is_dir() else []
        for each in (folder, *([] if _is_finished(folder) else inner)):
            if _is_finished(each):
                found[each.resolve()] = _read(each)
    if not found:
        places = ", ".join(map(str, folders[:3]))
        raise UserError(
            f"--runs {places}: no finished run (metrics.json) and no finished sweep (sweep.json)"
        )
    return [run for runs in _named(found) for run in runs]


def tables(runs: Sequence[Run], metrics: Sequence[str] = tuple(METRICS)) -> list[tuple[str, Table]]:
    """A table for all runs on the same data, under what that data is.

    Runs that differ in their seed alone are one line, with mean and sample deviation.

    Args:
        runs: from `read_runs`.
        metrics: the columns, where any run has them.
    """
    ordered = sorted(runs, key=lambda run: run.data)
    return [
        (data, _table(list(own), metrics)) for data, own in groupby(ordered, lambda run: run.data)
    ]


def plain_text(runs: Sequence[Run]) -> str:
    """The tables as aligned lines; a star marks the best of a column."""
    parts = []
    for data, table in tables(runs, SHORT):
        lines = [
            [shorten(f"{cell.text}{' *' if cell.best else ''}", _WIDEST) for cell in line]
            for line in table.groups[0].lines
        ]
        parts += [data, *aligned([table.header, *lines]), ""]
    return "\n".join(parts).rstrip()


def markdown(runs: Sequence[Run]) -> str:
    """All metrics, as Markdown."""
    return render("report.md", title=TITLE, parts=_parts(runs), published=None, figures=False)


def html(runs: Sequence[Run]) -> str:
    """All metrics, as a page that needs no other file."""
    return render("report.html", title=TITLE, parts=_parts(runs), published=None)


def csv_text(runs: Sequence[Run]) -> str:
    """One line a run and metric; shares are 0 to 1."""
    rows = (
        (run.data, run.name, told, run.seed, name, value)
        for run, told in zip(runs, _differences(runs), strict=True)
        for name, value in run.values.items()
    )
    return as_csv(("data", "run", "settings", "seed", "metric", "value"), rows)


def _table(runs: Sequence[Run], metrics: Sequence[str]) -> Table:
    by_setting: dict[tuple[str, bool], list[tuple[Run, str]]] = {}
    for run, told in zip(runs, _differences(runs), strict=True):
        setting = json.dumps(run.settings, sort_keys=True, default=str)
        by_setting.setdefault((setting, "valid_top1" in run.values), []).append((run, told))
    names = [name for name in metrics if any(name in run.values for run in runs)]
    names += ["valid_top1"] if any("valid_top1" in run.values for run in runs) else []
    lines = list(by_setting.values())
    cells = marked(
        [
            [summarise([run.values[n] for run, _ in own if n in run.values]) for n in names]
            for own in lines
        ],
        [metric(name) for name in names],
    )
    rows = tuple(
        (
            Cell(", ".join(dict.fromkeys(run.name for run, _ in own))),
            Cell(own[0][1]),
            Cell(str(len(own))),
            *line,
        )
        for own, line in zip(lines, cells, strict=True)
    )
    header = ("run", "settings", "seeds", *(metric(name).label for name in names))
    notes = (
        "Settings: those in which these runs differ. Over seeds: mean \u00b1 sample standard "
        "deviation. Bold: the best mean, and means within its deviation.",
    )
    return Table("Runs", header, (Group("", rows),), notes)


def _parts(runs: Sequence[Run]) -> list[dict[str, Any]]:
    empty = {"warning": "", "facts": (), "notes": (), "curves": (), "last_tables": []}
    empty |= dict.fromkeys(("weights", "explanations", "nec_table", "intervention_table"))
    return [{**empty, "title": data, "tables": [table]} for data, table in tables(runs)]


def _differences(runs: Sequence[Run]) -> list[str]:
    """What is particular to each run, in words: settings that are not the same for all."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for path, value in run.settings.items():
            values.setdefault(path, set()).add(repr(value))
    # A setting that a run does not have is one that an older version did not know.
    differ = [path for path, known in values.items() if len(known) > 1]
    return [
        ", ".join(f"{short(p)}={run.settings[p]}" for p in differ if p in run.settings)
        for run in runs
    ]


def _is_finished(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("metrics.json", "sweep.json"))


def _named(found: Mapping[Path, list[Run]]) -> Iterator[list[Run]]:
    """Runs by as much of their path as tells them apart."""
    names = [path.name for path in found]
    whole = len(set(names)) < len(names)
    root = Path(os.path.commonpath([path.parent for path in found]))
    for path, runs in found.items():
        name = path.relative_to(root).as_posix() if whole else path.name
        yield [run._replace(name=name) for run in runs]


def _read(folder: Path) -> list[Run]:
    settings = _flat(settings_of_run(folder) or {})
    settings = {path: value for path, value in settings.items() if path not in _PLACES}
    if (folder / "metrics.json").is_file():
        return [_finished_run(folder, settings)]
    return _best_of_sweep(folder, settings)


def _finished_run(folder: Path, settings: dict[str, Any]) -> Run:
    found = read_run_metrics(folder)
    data, seed = found["data"], settings.pop(_SEED, None)
    # An edited run has the settings of its first one.
    settings |= {"concept hash": str(found["concepts"].get("hash"))[:8]}
    told = f"{data.get('name')}, {data.get('protocol')} protocol, {data.get('test')} test images"
    values = {name: float(x) for name, x in found["test"].items() if isinstance(x, int | float)}
    return Run(folder.name, told, settings, seed, values)


def _best_of_sweep(folder: Path, settings: dict[str, Any]) -> list[Run]:
    file = folder / "sweep.json"
    try:
        found = parse_json(file.read_bytes())
        best = found["settings"][0]
        count, images = len(found["settings"]), int(found["valid"]["images"])
        settings |= {**best["setting"], "best of settings": count}
        settings.pop(_SEED, None)
        runs = [(run["setting"].get(_SEED), float(run["valid_top1"])) for run in best["runs"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise UserError(
            f"{file}: damaged ({first_line(error)}); the same `jaxcbm sweep` writes it again"
        ) from error
    told = f"{settings.get('data.name')}, sweeps, {images} validation images"
    return [Run(folder.name, told, settings, seed, {"valid_top1": x}) for seed, x in runs]


def _flat(settings: Any, place: str = "") -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        return {place: settings}
    inner = (_flat(x, f"{place}.{name}" if place else name) for name, x in settings.items())
    return {path: value for each in inner for path, value in each.items()}
