"""Pictures of a run: learning curves, confusion matrix, sparsity, calibration, interventions.

Every function writes one file; `file` is a path, or an open binary file for a PNG in memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxcbm.evaluation.calibration import ReliabilityBins, expected_calibration_error

File = Path | IO[bytes]

_TRAIN, _VALID = "#3b6ea5", "#d9822b"
# Told apart by people who confuse red and green.
_COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b8860b", "#4d4d4d"),
    *("#7b3294", "#8c564b", "#9acd32"),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "h")


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


def nec_curve(
    valid: Sequence[tuple[float, float]],
    test: Sequence[tuple[float, float]],
    chosen: float,
    file: File,
) -> None:
    """Accuracy against the number of effective concepts.

    Args:
        valid: (NEC, accuracy on validation) of each head of the path.
        test: (NEC, accuracy on test) of heads cut to equal numbers; may be empty.
        chosen: NEC of the model's own head.
        file: where to.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for points, marker, color, label in (
        (valid, "o", _VALID, "validation, along the path"),
        (test, "s", _TRAIN, "test, at equal numbers"),
    ):
        if points:
            axes.plot(*zip(*sorted(points), strict=True), marker, ls="-", color=color, label=label)
    axes.axvline(chosen, color="#777777", linestyle="--", label=f"chosen: {chosen:.1f}")
    axes.set_xlabel("concepts a class uses (NEC)")
    axes.set_ylabel("top-1 accuracy")
    _plain(axes)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=110)


def intervention_curves(curves: Mapping[str, Sequence[float]], file: File) -> None:
    """Accuracy against the number of concepts set right in each image.

    Args:
        curves: label -> accuracies after 0, 1, 2, ... concepts.
        file: where to.
    """
    figure = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = figure.subplots()
    # In the order of the curves' right ends, which is how they are looked up.
    for index, label in enumerate(sorted(curves, key=lambda label: -curves[label][-1])):
        axes.plot(
            curves[label],
            color=_COLORS[index % len(_COLORS)],
            marker=_MARKERS[index % len(_MARKERS)],
            # A marker on every one of many points would hide the line.
            markevery=max(1, len(curves[label]) // 10),
            markersize=5,
            label=label,
        )
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    axes.set_xlabel("concepts set in each image")
    axes.set_ylabel("top-1 accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _plain(axes)
    figure.savefig(file, dpi=110)


def reliability_diagram(groups: Mapping[str, ReliabilityBins], file: File) -> None:
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


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
