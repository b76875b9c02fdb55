"""Pictures of the birds' dials: curves of every method, and birds at each level."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxcbm.charts import curves_over_seeds, styled
from jaxcbm.data.birds import load_birds
from jaxcbm.data.birds.dials import Dials
from jaxcbm.palette import light
from jaxcbm.report.dials_points import METRICS, Point, dials_of
from jaxcbm.report.metric_names import metric, summarise

TITLES = {
    "annotation_noise": "annotation noise",
    "missing_concepts": "missing concepts",
    "shortcut": "shortcut",
    "nuisances": "nuisances",
    "atypical": "atypical birds",
}
_AXES = {
    "annotation_noise": "share of entries flipped",
    "missing_concepts": "share of phrases withheld",
    "shortcut": "correlation of mark and species",
    "nuisances": "strength",
    "atypical": "share with one more odd trait",
}
# Told apart by colour; the others are grey.
HIGHLIGHTED = (
    "jaxcbm (default)",
    "Label-free CBM",
    "VLG-CBM",
    "Post-hoc CBM, learned vectors",
    "LaBo",
    "CDM",
    "linear probe",
)
_BIRDS = 6


@styled
def curves_figure(points: Sequence[Point]) -> Figure:
    """A panel for every dial and metric of `METRICS`, a curve for every method.

    Panels of a metric show the range of the coloured curves; what lies elsewhere is cut off.
    """
    dials = dials_of(points)
    figure = Figure(figsize=(2.9 * len(dials) + 0.9, 10.4))
    grid = figure.subplots(len(METRICS), len(dials), sharex="col", sharey="row", squeeze=False)
    lines: dict[str, Line2D] = {}
    for panels, name in zip(grid, METRICS, strict=True):
        for panel, dial in zip(panels, dials, strict=True):
            lines |= _draw(panel, [p for p in points if (p.dial, p.metric) == (dial, name)])
        _show_coloured(panels[0], [p for p in points if p.metric == name])
        column = metric(name)
        if column.percent:
            panels[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
        panels[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panels[0].set_ylabel(column.label)
    for top, bottom, dial in zip(grid[0], grid[-1], dials, strict=True):
        top.set_title(TITLES[dial], loc="left")
        bottom.set_xlabel(_AXES[dial])
        bottom.set_xticks(dials[dial])
    shown = {name: lines[name] for name in HIGHLIGHTED if name in lines}
    if {point.method for point in points} - {*shown}:
        shown["other methods"] = Line2D([], [], color=light("neutral"), linewidth=0.9)
    figure.legend(
        list(shown.values()), list(shown),
        loc="outside lower center", ncols=max(len(dials) - 1, 1),
    )  # fmt: skip
    return figure


def _draw(panel: Axes, points: Sequence[Point]) -> dict[str, Line2D]:
    """One metric against one dial; returns the lines that have colours, by method."""
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.method, []).append(point)
    for method, own in curves.items():
        if method not in HIGHLIGHTED:
            means = [summarise(point.values).mean for point in own]
            levels = [point.level for point in own]
            panel.plot(levels, means, color=light("neutral"), linewidth=0.9, alpha=0.7)
    shown = {name: curves[name] for name in HIGHLIGHTED if name in curves}
    seeds = {
        name: ([p.level for p in own], np.array([p.values for p in own]).T)
        for name, own in shown.items()
    }
    return curves_over_seeds(panel, seeds, [HIGHLIGHTED.index(name) for name in seeds])


def _show_coloured(panel: Axes, points: Sequence[Point]) -> None:
    """Set the range of the axis: methods that learn nothing would leave no room for the others."""
    means = [summarise(p.values).mean for p in points if p.method in HIGHLIGHTED]
    if not np.isfinite(means).any():
        return
    low, high = np.nanmin(means), np.nanmax(means)
    room = max(0.06 * (high - low), 0.005)
    panel.set_ylim(low - room, high + room)


@styled
def pictures_figure(levels: Mapping[str, Sequence[float]]) -> Figure:
    """The same train birds at every level of the dials.

    Args:
        levels: dial -> its levels; those of annotations have nothing to show.
    """
    shown = {
        dial: [_birds(dial, level) for level in own]
        for dial, own in levels.items()
        if dial in ("shortcut", "nuisances", "atypical")
    }
    figure = Figure(figsize=(15, 0.3 + 0.95 * len(shown)))
    most = max(map(len, shown.values()), default=1)
    grid = figure.subplots(max(len(shown), 1), most, squeeze=False)
    for panel in grid.flat:
        panel.set_axis_off()
    for panels, (dial, strips) in zip(grid, shown.items(), strict=False):
        for panel, strip, level in zip(panels, strips, levels[dial], strict=False):
            panel.imshow(strip)
            panel.set_title(f"{TITLES[dial]} {level:g}", loc="left", fontsize=9)
    return figure


def _birds(dial: str, level: float) -> np.ndarray:
    """Some birds side by side, uint8 [H, W, 3]."""
    birds = load_birds("train", images_per_class=1, dials=Dials(**{dial: level}))
    rows = np.linspace(0, len(birds) - 1, _BIRDS).astype(int)
    return np.concatenate([np.asarray(birds[int(row)]) for row in rows], axis=1)
