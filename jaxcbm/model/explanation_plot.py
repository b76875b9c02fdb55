"""An explanation as a picture, drawn by matplotlib."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from jaxcbm.charts import styled
from jaxcbm.palette import light


@styled
def explanation_plot(
    image: Image.Image,
    title: str,
    contributions: Sequence[tuple[str, float]],
    rest: tuple[str, float],
    scores: Sequence[tuple[str, float]],
    maps: Sequence[tuple[str, Image.Image]] = (),
) -> Figure:
    """A picture beside its contributions, of which `rest` is grey, and its concept scores.

    Below them the maps: where each concept is.
    """
    height, below = 0.32 * len(contributions) + 2.0, 2.0 if maps else 0.0
    figure = Figure(figsize=(13, height + below))
    if maps:
        rows = figure.add_gridspec(2, 1, height_ratios=[height, below])
        upper, lower = (figure.add_subfigure(rows[i]) for i in range(2))
        for axes, (phrase, shown) in zip(lower.subplots(1, max(len(maps), 6)), maps, strict=False):
            axes.imshow(shown)
            axes.set_title(phrase, fontsize=9)
        for axes in lower.axes:
            axes.set_axis_off()
    else:
        upper = figure
    picture, ours, theirs = upper.subplots(1, 3, width_ratios=[1.0, 1.4, 1.0])
    picture.imshow(image.convert("RGB"))
    picture.set_axis_off()
    picture.set_title(title, fontsize=12, loc="left")
    kinds = ["positive" if value > 0 else "negative" for _, value in contributions] + ["neutral"]
    _bars(ours, [*contributions, rest], kinds, "contribution to the class logit")
    ours.axvline(0.0, color=light("text"), linewidth=0.8)
    if scores:
        _points(theirs, scores, "the encoder's own concept scores")
    return figure


def _bars(axes: Axes, rows: Sequence[tuple[str, float]], kinds: list[str], title: str) -> None:
    names, values = [name for name, _ in rows], [value for _, value in rows]
    positions = range(len(rows))
    drawn = axes.barh(positions, values, color=[light(kind) for kind in kinds])
    axes.bar_label(drawn, fmt="%+.2f" if min(values, default=0) < 0 else "%.2f", padding=3)
    axes.margins(x=0.18)
    _rows(axes, names, title)


def _points(axes: Axes, rows: Sequence[tuple[str, float]], title: str) -> None:
    """Scores have no zero to draw bars from, and differ by little of what they have in common."""
    names, values = [name for name, _ in rows], [value for _, value in rows]
    axes.plot(values, range(len(rows)), "o", color=light("neutral"))
    for position, value in enumerate(values):
        axes.annotate(
            f"{value:.2f}", (value, position), (7, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.3)
    _rows(axes, names, title)


def _rows(axes: Axes, names: Sequence[str], title: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.invert_yaxis()
    # Long phrases leave room above them, and none to the right.
    axes.set_title(title, fontsize=11, loc="right")
