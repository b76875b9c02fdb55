"""What all pictures share: one look, curves over seeds, reliability, and SVG for pages."""

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxcbm.palette import CURVES, PALETTE, light

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "h")
_STYLES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))

# CSS pixels to a point of matplotlib's, so that text is as large as that of the page.
_ZOOM = 1.25
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in PALETTE.items()}

styled = rc_context(
    {
        "axes.axisbelow": True,
        "axes.edgecolor": light("neutral"),
        "axes.grid": True,
        "axes.labelcolor": light("text"),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "grid.color": light("rule"),
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "savefig.dpi": 110,
        "svg.fonttype": "none",
        "text.color": light("text"),
        # A dollar sign in a phrase is no formula.
        "text.parse_math": False,
        "xtick.color": light("neutral"),
        "xtick.labelcolor": light("text"),
        "ytick.color": light("neutral"),
        "ytick.labelcolor": light("text"),
    }
)
"""Decorator of a function that draws: the look of every picture."""


def look(index: int) -> dict[str, Any]:
    """Colour, line style and marker of a curve; the first 90 curves differ.

    >>> look(0)["color"], look(10)["marker"]
    ('#0072b2', 's')
    """
    turn, place = divmod(index, len(CURVES))
    return {
        "color": CURVES[place],
        "linestyle": _STYLES[turn % len(_STYLES)],
        "marker": _MARKERS[(place + turn) % len(_MARKERS)],
    }


def curves_over_seeds(
    axes: Axes,
    curves: Mapping[str, Sequence[Any]],
    looks: Sequence[int] | None = None,
) -> dict[str, Line2D]:
    """Draw means over seeds, each with a band of one sample standard deviation to each side.

    Args:
        axes: where to.
        curves: label -> (x [T], y [T] or, one row a seed, [S, T]); what is not finite is left out.
        looks: which look each curve has; their order without.

    Returns:
        The lines by label, in the order of their right ends, which is how they are looked up.
    """
    lines: dict[str, Line2D] = {}
    for index, (label, (xs, ys)) in zip(looks or range(len(curves)), curves.items(), strict=False):
        order_T = np.argsort(xs, kind="stable")
        xs_T = np.asarray(xs, float)[order_T]
        ys_SxT = np.ma.masked_invalid(np.atleast_2d(np.asarray(ys, float))[:, order_T])
        mean_T = ys_SxT.mean(axis=0)
        # A marker on every one of many points would hide the line; some tell the curves apart.
        often = max(1, len(xs_T) // 10)
        drawn = axes.plot(
            xs_T, mean_T.filled(np.nan), **look(index), markevery=often, markersize=4.5
        )
        lines[label] = drawn[0]
        if len(ys_SxT) > 1:
            half_T = ys_SxT.std(axis=0, ddof=1)
            band = ((mean_T - half_T).filled(np.nan), (mean_T + half_T).filled(np.nan))
            axes.fill_between(xs_T, *band, color=CURVES[index % len(CURVES)], alpha=0.18, lw=0)
    ends = {label: np.asarray(line.get_ydata(), float)[-1] for label, line in lines.items()}
    return {label: lines[label] for label in sorted(lines, key=lambda x: -np.nan_to_num(ends[x]))}


def reliability_curve(
    axes: Axes,
    confidences: Sequence[float] | np.ndarray,
    accuracies: Sequence[float] | np.ndarray,
    counts: Sequence[float] | np.ndarray,
    index: int = 0,
    label: str = "",
) -> None:
    """Draw accuracy against confidence; the area of a point is its share of images."""
    color = look(index)["color"]
    shares = np.asarray(counts, float) / max(np.sum(counts), 1)
    axes.plot(confidences, accuracies, color=color, linewidth=1, alpha=0.6)
    axes.scatter(
        *(confidences, accuracies), s=8 + 500 * shares, c=color, marker=look(index)["marker"],
        label=label,
    )  # fmt: skip


@styled
def legend(lines: Mapping[str, Line2D]) -> Figure:
    """The names of curves as a picture of its own, which a page may put beside or below."""
    figure = Figure(figsize=(0.1, 0.1))
    figure.set_layout_engine("none")
    # Labels go in afterwards: matplotlib would leave out one that begins with "_".
    names = figure.legend(list(lines.values()), [" "] * len(lines), fontsize=10, borderpad=0)
    for text, label in zip(names.get_texts(), lines, strict=True):
        text.set_text(" ".join(label.split()))
    return figure


@styled
def inline_svg(
    figure: Figure,
    label: str,
    *,
    tight: bool = False,
    points: Sequence[tuple[float, float, str]] = (),
) -> str:
    """A picture as SVG inside a page: text stays text, colours are those of the stylesheet.

    Args:
        figure: drawn under `styled`.
        label: what a screen reader says; unlike that of other pictures of the page.
        tight: whether to cut the picture to what is drawn.
        points: x and y on the first axes, and what a page says there on hover and on focus.

    Returns:
        An `svg` element, the same for the same figure.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": label}), warnings.catch_warnings():
        # The reader's fonts have letters that those measured here lack.
        warnings.filterwarnings("ignore", "Glyph ")
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            dpi=72,
            metadata=nothing,
            bbox_inches="tight" if tight else None,
            pad_inches=0.05,
        )
    drawn = buffer.getvalue()
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', drawn)[0])
    body = drawn[drawn.index("</defs>", drawn.index("<style")) + len("</defs>") :]
    # In tags alone: texts are the reader's.
    body = re.sub(r"<[^>]*>\s*", lambda tag: _for_a_page(tag[0]), body)
    name = html.escape(label)
    head = f'<svg viewBox="0 0 {width:g} {height:g}" width="{_ZOOM * width:g}"'
    if not points:
        return f'{head} role="img" aria-label="{name}">{body.lstrip()}'
    # What can be focused may not be a part of an image.
    drawn = body[: body.rindex("</svg>")].lstrip()
    spots = "".join(_spot(figure, *point, width, height) for point in points)
    return f'{head} role="group" aria-label="{name}">{drawn}<g class="points">{spots}</g></svg>'


def _spot(figure: Figure, x: float, y: float, text: str, width: float, height: float) -> str:
    pixels = figure.axes[0].transData.transform((x, y))
    left, up = figure.transFigure.inverted().transform(pixels)
    at = f'cx="{left * width:.1f}" cy="{(1 - up) * height:.1f}"'
    return f'<circle role="img" r="6" {at}><title>{html.escape(text)}</title></circle>'


def _for_a_page(tag: str) -> str:
    """A tag of matplotlib's in fewer characters, with the stylesheet's colours and fonts."""
    tag = re.sub(r' id="[A-Za-z0-9.]+(_[0-9]+)+"| font-family: [^;"]*;', "", tag)
    tag = re.sub(r"(?<=: )#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), tag)
    tag = re.sub(r"-?[0-9]+\.[0-9]{3,}", lambda found: f"{float(found[0]):.2f}", tag)
    return re.sub(r" ?\n *", " ", tag).replace("> ", ">")
