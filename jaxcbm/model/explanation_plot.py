"""Explanations as a picture, drawn by matplotlib."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from jaxcbm.charts import styled
from jaxcbm.model.wording import REST
from jaxcbm.palette import light

if TYPE_CHECKING:
    from jaxcbm.model.explanation import Explanation


@styled
def explanation_plot(explanations: "Sequence[Explanation]") -> Figure:
    """Pictures below each other, each beside its contributions and its concept scores.

    The class bias and all other contributions are grey. Below are the maps: where each concept is.
    """
    heights = [0.32 * len(each.contributions) + 2.0 for each in explanations]
    parts = [
        (draw, each, height)
        for each, tall in zip(explanations, heights, strict=True)
        for draw, height in ((_row, tall), (_maps, 2.0))
        if draw is _row or each.maps
    ]
    figure = Figure(figsize=(13, sum(height for _, _, height in parts)))
    rows = figure.add_gridspec(len(parts), 1, height_ratios=[height for _, _, height in parts])
    for place, (draw, each, _) in enumerate(parts):
        draw(figure.add_subfigure(rows[place]), each)
    return figure


@styled
def comparison_plot(explanations: "Sequence[Explanation]") -> Figure:
    """One picture, and beside it a panel of contributions for each model that explains it.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), whose figures show models so.
    """
    longest = max(len(each.contributions) for each in explanations)
    count = len(explanations)
    figure = Figure(figsize=(3.2 + 5.6 * count, 0.34 * longest + 2.2))
    picture, *panels = figure.subplots(1, 1 + count, width_ratios=[0.7] + [1.0] * count)
    _picture(picture, explanations[0], [])
    for panel, each in zip(panels, explanations, strict=True):
        rows = each.labelled()
        kinds = ["positive" if value > 0 else "negative" for _, value in rows] + ["neutral"]
        notes = [textwrap.fill(line, 44) for line in (each.verdict, *each.facts())]
        _bars(panel, [*rows, (REST, each.rest)], kinds, "\n".join(notes))
        panel.axvline(0.0, color=light("text"), linewidth=0.8)
        panel.set_xlabel("contribution to the class logit")
    return figure


def _picture(axes: Axes, each: "Explanation", lines: Sequence[str]) -> None:
    axes.imshow((each.image if each.seen is None else each.seen).convert("RGB"))
    axes.set_axis_off()
    axes.set_title("\n".join(lines), fontsize=11, loc="left")


def _row(figure: SubFigure, each: "Explanation") -> None:
    picture, ours, theirs = figure.subplots(1, 3, width_ratios=[1.0, 1.4, 1.0])
    lines = [line.replace(" (", "\n(") for line in (each.verdict, *each.facts())]
    lines += [textwrap.fill(said, 36) for said in (*each.edited(), each.caution) if said]
    _picture(picture, each, lines)
    rows = each.labelled()
    kinds = ["positive" if value > 0 else "negative" for _, value in rows] + ["neutral"]
    _bars(ours, [*rows, (REST, each.rest)], kinds, "contribution to the class logit")
    ours.axvline(0.0, color=light("text"), linewidth=0.8)
    if each.top_scores:
        _points(theirs, each.top_scores, "the encoder's own concept scores")


def _maps(figure: SubFigure, each: "Explanation") -> None:
    grid = figure.subplots(1, max(len(each.maps), 6))
    for axes, (phrase, shown) in zip(grid, each.maps, strict=False):
        axes.imshow(shown)
        axes.set_title(phrase, fontsize=9)
    for axes in grid:
        axes.set_axis_off()


def save_explanations(
    explanations: "Sequence[Explanation]", path: Path, figure: Figure | None = None
) -> None:
    """Write a .png whose `Description` is what it shows, as JSON."""
    told = [
        {
            "picture": each.name,
            **({"model": each.by} if each.by else {}),
            "true": each.true,
            "predicted": each.predicted,
            "explained": each.target,
            "probability": round(each.probability, 4),
            "reasons": [[label, round(value, 3)] for label, value in each.labelled()],
        }
        for each in explanations
    ]
    figure = figure or explanation_plot(explanations)
    figure.savefig(path, dpi=130, metadata={"Description": json.dumps(told)})


def _bars(axes: Axes, rows: Sequence[tuple[str, float]], kinds: list[str], title: str) -> None:
    names, values = [name for name, _ in rows], [value for _, value in rows]
    positions = range(len(rows))
    drawn = axes.barh(positions, values, color=[light(kind) for kind in kinds])
    axes.bar_label(drawn, fmt="%+.2f" if min(values, default=0) < 0 else "%.2f", padding=3)
    axes.margins(x=0.18)
    _name_rows(axes, names, title)


def _points(axes: Axes, rows: Sequence[tuple[str, float]], title: str) -> None:
    """Scores have no zero to draw bars from, and differ by little of what they have in common."""
    names, values = [name for name, _ in rows], [value for _, value in rows]
    axes.plot(values, range(len(rows)), "o", color=light("neutral"))
    for position, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (value, position), (7, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.3)
    _name_rows(axes, names, title)


def _name_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.invert_yaxis()
    # Long phrases leave room above them, and none to the right.
    axes.set_title(title, fontsize=11, loc="right")
