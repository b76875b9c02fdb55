"""One picture of a sweep: its best settings, and what each axis of the grid does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from jaxcbm.charts import styled
from jaxcbm.palette import CURVES

BEST, COLUMNS = 12, 3


class Point(NamedTuple):
    """A setting, and the mean and deviation over seeds of its accuracy, 0 to 1."""

    setting: dict[str, Any]
    top1: float
    deviation: float


@styled
def sweep_plot(points: Sequence[Point], path: Path) -> None:
    """Draw settings by validation accuracy.

    Above, the best settings with the deviation over their seeds. Below, one panel an axis of the
    grid: every setting is a dot; lines join the best setting at each value. Colours tell apart the
    values of the first axis that is no number.

    Args:
        points: from best to worst; a setting that diverged (NaN) is left out.
        path: of the picture.
    """
    points = [point for point in points if np.isfinite(point.top1)]
    axes = axes_of(points)
    group = next((a for a, values in axes.items() if _is_named(values)), None)
    shown = {a: values for a, values in axes.items() if a != group} or axes
    below = -(-len(shown) // COLUMNS)
    bars = min(len(points), BEST)
    top = 0.34 * bars + 1.1
    figure = Figure(figsize=(13, top + 3.6 * below))
    heights = [top, 3.6 * below] if below else [top]
    rows = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    values = axes[group] if group else []
    colors = {value: CURVES[i % len(CURVES)] for i, value in enumerate(values)}
    _draw_best(rows[0].subplots(), points[:BEST], list(axes), group, colors)
    if below:
        grid = rows[1].subplots(below, COLUMNS, sharey=True, squeeze=False).flatten()
        for panel, (axis, values) in zip(grid, shown.items(), strict=False):
            _draw_axis(panel, points, axis, values, group, colors)
        for panel in grid[len(shown) :]:
            panel.set_visible(False)
        for panel in grid[::COLUMNS]:
            panel.set_ylabel("validation top-1")
    figure.savefig(path)


def axes_of(points: Sequence[Point]) -> dict[str, list[Any]]:
    """Axis -> its values in order, for every axis with more than one.

    >>> axes_of([Point({"a": 2, "b": 1}, 0.5, 0.0), Point({"a": 1, "b": 1}, 0.4, 0.0)])
    {'a': [1, 2]}
    """
    found: dict[str, list[Any]] = {}
    for point in points:
        for axis, value in point.setting.items():
            found.setdefault(axis, []).append(value)
    unique = {axis: list(dict.fromkeys(values)) for axis, values in found.items()}
    return {
        axis: values if _is_named(values) else sorted(values)
        for axis, values in unique.items()
        if len(values) > 1
    }


def _is_named(values: Sequence[Any]) -> bool:
    return any(isinstance(value, str | bool) for value in values)


def short(axis: str) -> str:
    """An axis's name without its section.

    >>> short("training.cbl.learning_rate")
    'cbl.learning_rate'
    """
    return axis.partition(".")[2] or axis


def show(value: Any) -> str:
    """A value for people.

    >>> show(0.0001), show("l1"), show(None)
    ('0.0001', 'l1', '-')
    """
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _draw_best(
    panel: Axes, points: Sequence[Point], axes: list[str], group: str | None, colors: dict
) -> None:
    for place, point in enumerate(points):
        color = colors.get(point.setting.get(group or ""), CURVES[0])
        error = point.deviation if np.isfinite(point.deviation) else 0.0
        panel.errorbar(point.top1, place, xerr=error, fmt="o", color=color, capsize=3, markersize=5)
    labels = [
        ", ".join(
            f"{short(axis)} {show(point.setting[axis])}" for axis in axes if axis in point.setting
        )
        for point in points
    ]
    panel.set_yticks(range(len(points)), labels, fontsize=9)
    xlabel = "validation top-1, mean and deviation over seeds"
    panel.set(ylim=(len(points) - 0.4, -0.6), xlabel=xlabel)
    panel.set_title("best settings" if len(points) > 1 else "the setting", loc="left")


def _draw_axis(
    panel: Axes,
    points: Sequence[Point],
    axis: str,
    values: list[Any],
    group: str | None,
    colors: dict,
) -> None:
    numbers = not _is_named(values)
    place = {value: value if numbers else i for i, value in enumerate(values)}
    for name, color in (colors or {None: CURVES[0]}).items():
        own = [p for p in points if axis in p.setting and (not group or p.setting[group] == name)]
        if not own:
            continue
        xs = [place[p.setting[axis]] for p in own]
        panel.scatter(xs, [p.top1 for p in own], s=14, color=color, alpha=0.35, linewidths=0)
        tops = {x: max(p.top1 for p, at in zip(own, xs, strict=True) if at == x) for x in xs}
        panel.plot(*zip(*sorted(tops.items()), strict=True), color=color, label=name)
    if numbers and min(values) > 0 and max(values) >= 10 * min(values):
        panel.set_xscale("log")
        # The usual labels are formulas.
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    if not numbers:
        panel.set_xticks(range(len(values)), [show(value) for value in values])
    panel.set_xlabel(short(axis))
    if group and panel.lines:
        panel.legend(fontsize=8, title=short(group))
