"""Pictures of a run: learning curves, confusion matrix, sparsity, calibration, interventions.

Every function writes one file; `file` is a path, or an open binary file for a PNG in memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxcbm.evaluation.calibration import Reliability, expected_calibration_error

File = Path | IO[bytes]

_TRAIN, _VALID = "#3b6ea5", "#d9822b"
# Told apart by people who confuse red and green; with more curves the line style changes too.
_COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#4d4d4d"),
    *("#7b3294", "#8c564b", "#9acd32"),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "h")
_STYLES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))


def learning_curves(lines: Sequence[dict[str, Any]], file: File) -> None:
    """Loss, objective and top-1 over steps, from the lines of metrics.jsonl."""
    names = ["loss", "objective", "top1"]
    titles = ["cross-entropy", "concept objective", "top-1 accuracy"]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, name, title in zip(figure.subplots(1, 3), names, titles, strict=True):
        for split, color in (("train", _TRAIN), ("valid", _VALID)):
            points = [
                (x["step"], x["value"]) for x in lines if (x["split"], x["name"]) == (split, name)
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=split, color=color)
        axes.set_title(title)
        axes.set_xlabel("step")
        _plain(axes)
        axes.legend(frameon=False)
    figure.savefig(file, dpi=110)


def confusion(counts_KxK: np.ndarray, classes: Sequence[str], file: File) -> None:
    """Row-normalised confusion matrix; with many classes only the axes are numbered."""
    size = len(classes)
    side = float(np.clip(0.22 * size + 2.5, 5, 16))
    figure = Figure(figsize=(side + 1.5, side), layout="constrained")
    axes = figure.subplots()
    shares = counts_KxK / np.maximum(counts_KxK.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    if size <= 60:
        axes.set_xticks(range(size), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(size), classes, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="share of the true class")
    figure.savefig(file, dpi=110)


def nec_curve(points: Sequence[tuple[float, float]], chosen: float, file: File) -> None:
    """Validation accuracy against the number of effective concepts along the path."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(points)
    axes.plot(*zip(*ordered, strict=True), marker="o", markersize=4, color=_TRAIN)
    axes.axvline(chosen, color=_VALID, linestyle="--", label=f"chosen: {chosen:.1f}")
    axes.set_xlabel("concepts a class uses (NEC)")
    axes.set_ylabel("validation top-1")
    _plain(axes)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=110)


def nec_curves(
    curves: Mapping[str, tuple[Sequence[float], Any]],
    file: File,
    *,
    references: Mapping[str, float] | None = None,
) -> None:
    """Accuracy against the number of effective concepts, several models in one picture.

    Args:
        curves: label -> (NEC values [T], accuracies [T] or, one row a seed, [S, T]).
        file: where to.
        references: label -> accuracy of a model without such a number, drawn as a level line.
    """
    figure, axes = _many_curves(curves, references or {})
    axes.set_xlabel("concepts a class uses (NEC)")
    axes.set_ylabel("top-1 accuracy")
    axes.set_xticks(sorted({float(x) for targets, _ in curves.values() for x in targets}))
    axes.xaxis.set_major_formatter("{x:g}")
    figure.savefig(file, dpi=110)


def intervention_curves(curves: Mapping[str, tuple[Sequence[float], Any]], file: File) -> None:
    """Accuracy against the number of concepts set to their true values.

    Args:
        curves: label -> (counts [M + 1], accuracies [M + 1] or, one row a seed, [S, M + 1]).
        file: where to.
    """
    figure, axes = _many_curves(curves, {})
    axes.set_xlabel("concepts set in each image")
    axes.set_ylabel("top-1 accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(file, dpi=110)


def reliability_diagram(groups: Mapping[str, Reliability], file: File) -> None:
    """Accuracy against confidence, and what share of the images is at most so confident.

    The area of a point is the share of images it stands for.

    Args:
        groups: label -> the groups of one model, such as before and after scaling.
        file: where to.
    """
    figure = Figure(figsize=(5.4, 6.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    upper.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="perfect")
    for index, (label, group) in enumerate(groups.items()):
        color, marker = _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]
        upper.plot(group.confidences, group.accuracies, color=color, linewidth=1, alpha=0.6)
        upper.scatter(
            *(group.confidences, group.accuracies),
            s=8 + 500 * group.counts / group.counts.sum(),
            color=color,
            marker=marker,
            label=f"{label} (ECE {100 * expected_calibration_error(group):.1f}%)",
        )
        shares = np.cumsum(group.counts) / group.counts.sum()
        edges = np.append(group.lower[0], group.upper)
        lower.plot(edges, np.append(0.0, shares), color=color, linewidth=1.6)
    upper.set(xlim=(0, 1.01), ylim=(0, 1.01), ylabel="accuracy")
    lower.set(ylim=(0, 1.03), xlabel="confidence", ylabel="images\nup to here")
    for axes in (upper, lower):
        _plain(axes)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    legend = upper.legend(frameon=False, loc="upper left", fontsize=9)
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([36.0])
    figure.savefig(file, dpi=110)


def _many_curves(
    curves: Mapping[str, tuple[Sequence[float], Any]], references: Mapping[str, float]
) -> tuple[Figure, Axes]:
    """Means over seeds with a band of one deviation; the first curve stands out."""
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots()
    ends: dict[str, tuple[float, Line2D]] = {}
    for index, (label, (xs, accuracies)) in enumerate(curves.items()):
        rows_SxT = np.atleast_2d(np.asarray(accuracies, float))
        mean_T, deviation_T = rows_SxT.mean(axis=0), rows_SxT.std(axis=0)
        color, turn = _COLORS[index % len(_COLORS)], index // len(_COLORS)
        (line,) = axes.plot(
            *(xs, mean_T),
            color=color,
            linestyle=_STYLES[turn % len(_STYLES)],
            marker=_MARKERS[(index + turn) % len(_MARKERS)],
            # A marker on every one of many points would hide the line; some tell the curves apart.
            markevery=max(1, len(mean_T) // 10),
            markersize=5,
            linewidth=1.5 if index else 2.8,
            zorder=2.5 if index else 3,
        )
        band = (mean_T - deviation_T, mean_T + deviation_T)
        if len(rows_SxT) > 1:
            axes.fill_between(xs, *band, color=color, alpha=0.15, linewidth=0)
        ends[label] = (float(mean_T[-1]), line)
    _level_lines(axes, references, ends)
    # In the order of the curves' right ends, which is how they are looked up.
    ordered = sorted(ends, key=lambda label: -ends[label][0])
    handles = [ends[label][1] for label in ordered]
    figure.legend(handles, ordered, loc="outside right upper", frameon=False, fontsize=9)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _plain(axes)
    return figure, axes


def _level_lines(
    axes: Axes, references: Mapping[str, float], ends: dict[str, tuple[float, Line2D]]
) -> None:
    """Lines at the references; one far from every curve is named alone, or it would flatten all."""
    low, high = axes.get_ylim()
    room = 0.6 * (high - low)
    for index, (label, level) in enumerate(references.items()):
        style = _STYLES[(index + 1) % len(_STYLES)]
        text = f"{label}: {100 * level:.1f}%"
        if low - room <= level <= high + room:
            ends[text] = (level, axes.axhline(level, color="#777777", linestyle=style))
        else:
            where = "below" if level < low else "above"
            ends[f"{text} ({where})"] = (level, Line2D([], [], linestyle=""))


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
