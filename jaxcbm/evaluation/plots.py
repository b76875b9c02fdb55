"""Pictures of a run: learning curves, confusion matrix, sparsity, calibration, interventions.

Every function writes one file; `file` is a path, or an open binary file for a PNG in memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from jaxcbm.charts import curves_over_seeds, reliability_curve, styled
from jaxcbm.evaluation.calibration import ReliabilityBins, expected_calibration_error
from jaxcbm.palette import CURVES, light

File = Path | IO[bytes]


@styled
def learning_curves(lines: Sequence[dict[str, Any]], file: File) -> None:
    """Loss, objective and top-1 over steps, from the lines of metrics.jsonl."""
    names = ["loss", "objective", "top1"]
    titles = ["cross-entropy", "concept objective", "top-1 accuracy"]
    figure = Figure(figsize=(12, 3.6))
    for axes, name, title in zip(figure.subplots(1, 3), names, titles, strict=True):
        for split, color in zip(("train", "valid"), CURVES, strict=False):
            points = [
                (x["step"], x["value"]) for x in lines if (x["split"], x["name"]) == (split, name)
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=split, color=color)
        axes.set(title=title, xlabel="step")
        axes.legend()
    figure.savefig(file)


@styled
def confusion(counts_KxK: np.ndarray, classes: Sequence[str], file: File) -> None:
    """Row-normalised confusion matrix; with many classes only the axes are numbered."""
    size = len(classes)
    side = float(np.clip(0.22 * size + 2.5, 5, 16))
    figure = Figure(figsize=(side + 1.5, side))
    axes = figure.subplots()
    shares = counts_KxK / np.maximum(counts_KxK.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.grid(visible=False)
    if size <= 60:
        axes.set_xticks(range(size), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(size), classes, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(drawn, ax=axes, shrink=0.7, label="share of the true class")
    figure.savefig(file)


@styled
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
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    points = {"validation, along the path": valid, "test, at equal numbers": test}
    curves = {label: tuple(zip(*each, strict=True)) for label, each in points.items() if each}
    lines = curves_over_seeds(axes, curves)
    mark = axes.axvline(chosen, color=light("neutral"), linestyle="--")
    axes.set(xlabel="concepts a class uses (NEC)", ylabel="top-1 accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend([*lines.values(), mark], [*lines, f"chosen: {chosen:.1f}"])
    figure.savefig(file)


@styled
def intervention_curves(curves: Mapping[str, Sequence[float]], file: File) -> None:
    """Accuracy against the number of concepts set right in each image.

    Args:
        curves: label -> accuracies after 0, 1, 2, ... concepts.
        file: where to.
    """
    figure = Figure(figsize=(8.4, 4.6))
    axes = figure.subplots()
    lines = curves_over_seeds(axes, {label: (range(len(y)), y) for label, y in curves.items()})
    figure.legend(list(lines.values()), list(lines), loc="outside right upper", fontsize=9)
    axes.set(xlabel="concepts set in each image", ylabel="top-1 accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    figure.savefig(file)


@styled
def reliability_diagram(groups: Mapping[str, ReliabilityBins], file: File) -> None:
    """Accuracy against confidence, and what share of the images is at most so confident.

    The area of a point is the share of images it stands for.

    Args:
        groups: label -> the groups of one model, such as before and after scaling.
        file: where to.
    """
    figure = Figure(figsize=(5.4, 6.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    upper.plot([0, 1], [0, 1], color=light("neutral"), linewidth=1, linestyle="--", label="perfect")
    for index, (label, group) in enumerate(groups.items()):
        name = f"{label} (ECE {100 * expected_calibration_error(group):.1f}%)"
        reliability_curve(upper, *group[2:], index, name)
        shares = np.cumsum(group.counts) / group.counts.sum()
        edges = np.append(group.lower[0], group.upper)
        lower.plot(edges, np.append(0.0, shares), color=CURVES[index % len(CURVES)], linewidth=1.6)
    upper.set(xlim=(0, 1.01), ylim=(0, 1.01), ylabel="accuracy")
    lower.set(ylim=(0, 1.03), xlabel="confidence", ylabel="images\nup to here")
    for axes in (upper, lower):
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    legend = upper.legend(loc="upper left", fontsize=9)
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([36.0])
    figure.savefig(file)
