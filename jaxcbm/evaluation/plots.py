"""Pictures of a run: learning curves, confusion matrix, accuracy against sparsity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure


def learning_curves(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss, objective and top-1 over steps, from the lines of metrics.jsonl."""
    names = ["loss", "objective", "top1"]
    titles = ["cross-entropy", "concept objective", "top-1 accuracy"]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, name, title in zip(figure.subplots(1, 3), names, titles, strict=True):
        for split, color in (("train", "#3b6ea5"), ("valid", "#d9822b")):
            points = [
                (x["step"], x["value"]) for x in lines if (x["split"], x["name"]) == (split, name)
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=split, color=color)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def confusion(counts_KxK: np.ndarray, classes: Sequence[str], path: Path) -> None:
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
    figure.savefig(path, dpi=110)


def nec_curve(points: Sequence[tuple[float, float]], chosen: float, path: Path) -> None:
    """Validation accuracy against the number of effective concepts along the path."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    ordered = sorted(points)
    axes.plot(*zip(*ordered, strict=True), marker="o", markersize=4, color="#3b6ea5")
    axes.axvline(chosen, color="#d9822b", linestyle="--", label=f"chosen: {chosen:.1f}")
    axes.set_xlabel("concepts a class uses (NEC)")
    axes.set_ylabel("validation top-1")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
