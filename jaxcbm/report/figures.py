"""The pictures of a report: accuracy against sparsity, reliability, interventions, weights."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxcbm.charts import curves_over_seeds, inline_svg, legend, reliability_curve, styled
from jaxcbm.csv_text import as_csv
from jaxcbm.evaluation.results.schema import ClassWeights, ReliabilityDiagram, ResultFile, Weights
from jaxcbm.pages import signed
from jaxcbm.palette import light
from jaxcbm.report.metric_names import MetricFormat, mean_and_deviation, summarise

POSITIVE, NEGATIVE = 4, 3
MOST_CLASSES_AS_RIBBONS = 12
_BAND = "Band: one deviation over seeds."
_SHARE = MetricFormat("", 1, True, 1)
# In inches of 72 points.
_SIZE = (6.6, 3.8)
# As many characters as fit beside the nodes.
_CHARACTERS = 36


class Drawing(NamedTuple):
    """A figure of the page: SVG, with its legend apart so that it may go beside or below.

    Attributes:
        title: its heading.
        svg: the picture.
        caption: a sentence below.
        csv: what is drawn, as the address of a CSV file.
        legend: another picture; empty without one.
    """

    title: str
    svg: Markup
    caption: str
    csv: str
    legend: Markup = Markup("")


def nec_figure(result: ResultFile, section: str) -> list[Drawing]:
    """Accuracy against NEC of every method that has a path, in one picture; none without any."""
    curves = {
        row.name: (row.nec_curve.targets, row.nec_curve.accuracies)
        for row in result.rows
        if row.nec_curve
    }
    if not curves:
        return []
    title = "Accuracy against sparsity"
    return [_curves(title, f"{section}: top-1 against NEC", "concepts a class uses (NEC)", curves)]


def reliability_figures(result: ResultFile, section: str) -> list[Drawing]:
    """For each model, accuracy against confidence; points grow with their share of images."""
    return [
        _reliability(bins, f"{section}: reliability of {bins.row}")
        for bins in result.reliability
        if _known(bins).size
    ]


def intervention_figures(result: ResultFile, section: str) -> list[Drawing]:
    """For each model, accuracy against the number of concepts set, a curve a policy.

    A policy has the same look in every model's picture.
    """
    looks = {
        kind: i
        for i, kind in enumerate(dict.fromkeys((c.policy, c.values) for c in result.interventions))
    }
    drawn = []
    for name in dict.fromkeys(curve.row for curve in result.interventions):
        mine = [curve for curve in result.interventions if curve.row == name]
        curves = {f"{c.policy}, values from {c.values}": (c.counts, c.accuracies) for c in mine}
        label = f"{section}: interventions on {name}"
        order = [looks[c.policy, c.values] for c in mine]
        drawn.append(_curves(name, label, "concepts set", curves, order))
    return drawn


def strongest(weights: ClassWeights) -> list[tuple[str, float]]:
    """The largest positive weights, largest first, then the most negative, most negative last.

    >>> strongest(ClassWeights("duck", {"a": -1.0, "b": 0.5, "c": 2.0, "d": 0.0}))
    [('c', 2.0), ('b', 0.5), ('a', -1.0)]
    """
    known = [(phrase, w) for phrase, w in weights.weights.items() if math.isfinite(w) and w]
    ranked = sorted(known, key=lambda pair: -pair[1])
    positive = [pair for pair in ranked if pair[1] > 0][:POSITIVE]
    negative = [pair for pair in ranked if pair[1] < 0][-NEGATIVE:]
    return positive + negative


def weight_ribbons(weights: Weights, section: str) -> Markup:
    """Concepts on the left, classes on the right, ribbons as wide as weights; "" for many classes.

    Negative weights have a dashed edge. Concepts stand in the mean order of their classes, so that
    few ribbons cross.
    """
    pairs = [dict(strongest(each)) for each in weights.classes]
    phrases = list(dict.fromkeys(phrase for chosen in pairs for phrase in chosen))
    if not phrases or len(pairs) > MOST_CLASSES_AS_RIBBONS:
        return Markup("")
    weights_PxK = np.array([[chosen.get(phrase, 0.0) for chosen in pairs] for phrase in phrases])
    places_K = np.arange(len(pairs))
    means_P = np.abs(weights_PxK) @ places_K / np.abs(weights_PxK).sum(axis=1)
    order = sorted(range(len(phrases)), key=lambda p: (means_P[p], phrases[p]))
    names = [each.name for each in weights.classes]
    figure, points = _ribbons(weights_PxK[order], [phrases[p] for p in order], names)
    label = f"{section}: concepts and the classes that read them"
    return Markup(inline_svg(figure, label, points=points))


def csv_link(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """Lines as CSV in an address, so that a page holds the file that it offers."""
    return f"data:text/csv;charset=utf-8,{quote(as_csv(header, rows), safe=' ,')}"


def weights_csv(weights: Weights) -> str:
    """The weights that the page shows of each class."""
    pairs = ((each.name, *pair) for each in weights.classes for pair in strongest(each))
    return csv_link(("class", "concept", "weight"), pairs)


@styled
def _curves(
    title: str,
    label: str,
    x: str,
    curves: Mapping[str, tuple[Sequence[float], Any]],
    looks: Sequence[int] | None = None,
) -> Drawing:
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    lines = curves_over_seeds(axes, curves, looks)
    axes.set(xlabel=x, ylabel="top-1")
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    names = inline_svg(legend(lines), f"{label}, legend", tight=True)
    rows = [
        (name, float(at), summarise([seed[i] for seed in ys]))
        for name, (xs, ys) in curves.items()
        for i, at in enumerate(xs)
    ]
    points = [
        (at, found.mean, f"{name}: {mean_and_deviation(found, _SHARE)} % at {at:g} {x}")
        for name, at, found in rows
        if found.count
    ]
    csv = csv_link(
        ("curve", x, "mean top-1", "deviation", "seeds"),
        ((name, at, *found) for name, at, found in rows),
    )
    svg = inline_svg(figure, label, points=points)
    return Drawing(title, Markup(svg), _BAND, csv, Markup(names))


@styled
def _reliability(bins: ReliabilityDiagram, label: str) -> Drawing:
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=light("neutral"), linewidth=1, linestyle="--")
    confidences, accuracies, counts = _known(bins)
    reliability_curve(axes, confidences, accuracies, counts)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    error = np.average(np.abs(accuracies - confidences), weights=counts)
    caption = f"ECE {100 * error:.1f} %. Area: number of images."
    rows = list(zip(confidences.tolist(), accuracies.tolist(), map(int, counts), strict=True))
    points = [
        (sure, right, f"{count} images: confidence {sure:.1%}, accuracy {right:.1%}")
        for sure, right, count in rows
    ]
    csv = csv_link(("confidence", "accuracy", "images"), rows)
    return Drawing(bins.row, Markup(inline_svg(figure, label, points=points)), caption, csv)


def _known(bins: ReliabilityDiagram) -> np.ndarray:
    """Confidences, accuracies and counts of the groups that have images, float64 [3, B]."""
    every = np.array([bins.confidences, bins.accuracies, bins.counts], float)
    return every[:, np.isfinite(every).all(axis=0) & (every[2] > 0)]


@styled
def _ribbons(
    weights_PxK: np.ndarray, phrases: Sequence[str], classes: Sequence[str]
) -> tuple[Figure, list[tuple[float, float, str]]]:
    """Draw ribbons between two columns of nodes; a unit is a point. Also what each says."""
    # On average a concept's node is as high as its line of text.
    widths_PxK = np.abs(weights_PxK) * (15.0 * len(phrases) / np.abs(weights_PxK).sum())
    sizes_P, sizes_K = widths_PxK.sum(axis=1), widths_PxK.sum(axis=0)
    rooms_P = np.maximum(sizes_P + 5.0, 20.0)
    left_P, height = np.cumsum(rooms_P) - (rooms_P + sizes_P) / 2, rooms_P.sum()
    gap = (height - sizes_K.sum()) / len(sizes_K)
    right_K = np.cumsum(sizes_K + gap) - sizes_K - gap / 2
    figure = Figure(figsize=(10.6, height / 72))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 763), ylim=(height, 0))
    axes.set_axis_off()
    # Ribbons leave and reach their nodes in the order of what stands opposite.
    starts_PxK = left_P[:, None] + np.cumsum(widths_PxK, axis=1) - widths_PxK
    ends_PxK = right_K[None, :] + np.cumsum(widths_PxK, axis=0) - widths_PxK
    points = []
    for p, k in zip(*np.nonzero(weights_PxK), strict=True):
        # Where ribbons are still apart.
        middle = starts_PxK[p, k] + widths_PxK[p, k] / 2
        points.append(
            (236.0, middle, f"{phrases[p]}, {classes[k]}: {signed(float(weights_PxK[p, k]))}")
        )
        kind = "positive" if weights_PxK[p, k] > 0 else "negative"
        _ribbon(axes, starts_PxK[p, k], ends_PxK[p, k], widths_PxK[p, k], kind)
    _nodes(axes, 220, left_P, sizes_P, phrases, "right")
    _nodes(axes, 550, right_K, sizes_K, classes, "left")
    return figure, points


def _ribbon(axes: Axes, start: float, end: float, width: float, kind: str) -> None:
    corners = [(228, start), (385, start), (385, end), (542, end)]
    below = [(x, y + width) for x, y in reversed(corners)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3]
    edge = {"linewidth": 0.0} if kind == "positive" else {"linewidth": 1.0, "linestyle": "--"}
    shape = Path([*corners, *below], codes)
    axes.add_patch(PathPatch(shape, color=light(kind), alpha=0.5, **edge))


def _nodes(
    axes: Axes, x: float, tops_N: np.ndarray, sizes_N: np.ndarray, names: Sequence[str], side: str
) -> None:
    axes.bar(x + 4 * (1 if side == "right" else -1), sizes_N, 8, tops_N, color=light("text"))
    for name, middle in zip(names, tops_N + sizes_N / 2, strict=True):
        name = " ".join(name.split())
        # Phrases often differ in their last word alone.
        half = _CHARACTERS // 2
        shown = name if len(name) <= _CHARACTERS else f"{name[: half - 1]}\u2026{name[-half:]}"
        at = x + 6 * (-1 if side == "right" else 1)
        axes.text(at, middle, shown, ha=side, va="center_baseline")
