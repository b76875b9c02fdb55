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
) -> Figure:
    """A picture beside its contributions, of which `rest` is grey, and its concept scores."""
    figure = Figure(figsize=(13, 0.32 * len(contributions) + 2.0))
    picture, ours, theirs = figure.subplots(1, 3, width_ratios=[1.0, 1.4, 1.0])
    picture.imshow(image.convert("RGB"))
    picture.set_axis_off()
    picture.set_title(title, fontsize=12, loc="left")
    kinds = ["positive" if value > 0 else "negative" for _, value in contributions] + ["neutral"]
    _bars(ours, [*contributions, rest], kinds, "contribution to the class logit")
    ours.axvline(0.0, color=light("text"), linewidth=0.8)
    _bars(theirs, scores, ["neutral"] * len(scores), "the encoder's own concept scores")
    if scores:
        values = [score for _, score in scores]
        margin = max(max(values) - min(values), 1e-3)
        theirs.set_xlim(min(values) - margin, max(values) + 0.35 * margin)
    return figure


def _bars(axes: Axes, rows: Sequence[tuple[str, float]], kinds: list[str], title: str) -> None:
    names, values = [name for name, _ in rows], [value for _, value in rows]
    positions = range(len(rows))
    drawn = axes.barh(positions, values, color=[light(kind) for kind in kinds])
    axes.bar_label(drawn, fmt="%+.2f" if min(values, default=0) < 0 else "%.2f", padding=3)
    axes.set_yticks(positions, names)
    axes.grid(visible=False)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    # Long phrases leave room above them, and none to the right.
    axes.set_title(title, fontsize=11, loc="right")
