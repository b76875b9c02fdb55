"""A map of phrases beside the classes: their text embeddings in the plane, every label readable."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jaxcbm.charts import styled
from jaxcbm.errors import UserError
from jaxcbm.palette import light
from jaxcbm.report.label_places import place_labels

_PHRASE, _CLASS, _DROPPED = light("c0"), light("c1"), light("neutral")
_CHARACTERS = 32
# Beyond so many, labels could not be read: classes and the first phrases have one.
MOST_LABELS = 160


@styled
def phrase_map(
    phrases: Sequence[str],
    texts_DxE: np.ndarray,
    classes: Sequence[str],
    classes_KxE: np.ndarray,
    file: Path | IO[bytes],
    *,
    dropped_MxE: np.ndarray | None = None,
    title: str = "",
) -> int:
    """Draw phrases (dots) and classes (orange diamonds, bold) on their two main axes.

    Near means similar, as far as two dimensions can tell: the axes name the share of variance that
    they show. Text embeddings crowd, so that distances along each axis are evened out: order is
    true, width is not.

    Args:
        phrases: D texts.
        texts_DxE: unit-norm embeddings.
        classes: K names.
        classes_KxE: unit-norm embeddings in the same space.
        file: where to; a path, or an open binary file for a PNG.
        dropped_MxE: embeddings of phrases that filters left out, shown as grey dots with no name.
        title: of the picture.

    Returns:
        How many labels found room; points without one keep their mark.

    Raises:
        UserError: fewer than three points.
    """
    named_PxE = np.concatenate([texts_DxE, classes_KxE])
    extra_MxE = np.zeros((0, named_PxE.shape[1])) if dropped_MxE is None else dropped_MxE
    if len(named_PxE) < 3:
        raise UserError("a map of fewer than three phrases and classes shows nothing: add some")
    points_Px2, shares = plane(named_PxE, extra_MxE)
    points_Px2 = evened(points_Px2)
    side = float(np.clip(6.5 + 0.045 * min(len(named_PxE), MOST_LABELS), 7.5, 13))
    figure = Figure(figsize=(1.3 * side, side), dpi=rcParams["savefig.dpi"])
    axes = figure.subplots()
    count = len(phrases)
    own, names, lost = np.split(points_Px2, [count, count + len(classes)])
    for what, points, marks in (
        ("dropped", lost, {"s": 9, "color": _DROPPED}),
        ("concepts", own, {"s": 14, "color": _PHRASE}),
        ("classes", names, {"s": 34, "color": _CLASS, "marker": "D"}),
    ):
        if len(points):
            axes.scatter(*points.T, label=f"{what} ({len(points)})", **marks)
    axes.set(
        xlabel=f"first axis ({shares[0]:.0%} of variance; distances evened out)",
        ylabel=f"second axis ({shares[1]:.0%} of variance; distances evened out)",
        title=title,
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.07)
    figure.legend(loc="outside lower center", ncols=3)
    axes.spines[:].set_visible(True)
    texts = [_short(name) for name in (*phrases, *classes)]
    placed = _write(figure, axes, texts, points_Px2, count)
    figure.savefig(file)
    return placed


def plane(named_PxE: np.ndarray, extra_MxE: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two main axes of some points, and where these and others lie on them.

    Args:
        named_PxE: the points whose variance decides, P from 2.
        extra_MxE: points that are only shown.

    Returns:
        coordinates [P + M, 2], the axes turned so that their longest arms point right and up, and
        the share of variance of each axis [2].

    >>> points, shares = plane(np.array([[0.0, 0, 0], [4, 0, 0], [2, 1, 0]]), np.zeros((0, 3)))
    >>> points.shape, bool(shares[0] > 0.9)
    ((3, 2), True)
    """
    centre_E = named_PxE.mean(axis=0)
    _, values, axes_RxE = np.linalg.svd(
        np.asarray(named_PxE - centre_E, np.float64), full_matrices=False
    )
    values, axes_2xE = np.append(values, [0.0, 0.0]), np.zeros((2, named_PxE.shape[1]))
    axes_2xE[: min(2, len(axes_RxE))] = axes_RxE[:2]
    coordinates = (np.concatenate([named_PxE, extra_MxE]) - centre_E) @ axes_2xE.T
    longest = np.take_along_axis(coordinates, np.abs(coordinates).argmax(axis=0)[None], axis=0)
    signs_1x2 = np.where(longest < 0, -1.0, 1.0)
    return coordinates * signs_1x2, values[:2] ** 2 / max(np.sum(values**2), 1e-12)


def evened(points_Px2: np.ndarray, share: float = 0.7) -> np.ndarray:
    """Positions between the points' own and their ranks, 0 to 1, each axis by itself; order stays.

    A `share` of 0 keeps the positions, 1 makes them equally far apart.

    >>> evened(np.array([[0.0, 5.0], [1.0, 5.0], [10.0, 5.0]]), share=0.5).round(2).tolist()
    [[0.0, 0.5], [0.3, 0.5], [1.0, 0.5]]
    """
    low, high = points_Px2.min(axis=0), points_Px2.max(axis=0)
    width = high - low
    linear = np.divide(points_Px2 - low, width, out=np.full(points_Px2.shape, 0.5), where=width > 0)
    ranks = np.empty(points_Px2.shape)
    for axis in range(2):
        values, place = np.unique(points_Px2[:, axis], return_inverse=True)
        ranks[:, axis] = place / (len(values) - 1) if len(values) > 1 else 0.5
    return share * ranks + (1 - share) * linear


def _short(name: str) -> str:
    return name if len(name) <= _CHARACTERS else f"{name[: _CHARACTERS - 1]}\u2026"


def _write(
    figure: Figure, axes: Axes, texts: list[str], points_Px2: np.ndarray, phrases: int
) -> int:
    """Write labels where they cover neither each other nor a mark, with a line to a far one."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # Labels stand at fixed pixels: nothing may move any more.
    figure.set_layout_engine("none")
    renderer = canvas.get_renderer()
    pixels_Px2 = axes.transData.transform(points_Px2)
    # Classes first: they are what phrases are looked up beside.
    order = [*range(phrases, len(texts)), *range(phrases)][:MOST_LABELS]
    written = []
    for index in order:
        bold = index >= phrases
        written.append(
            axes.text(
                0,
                0,
                texts[index],
                fontsize=9.5 if bold else 8.5,
                weight="bold" if bold else "normal",
                color=_CLASS if bold else light("text"),
                transform=None,
            )
        )
    boxes = [text.get_window_extent(renderer) for text in written]
    sizes = np.array([(box.width, box.height) for box in boxes])
    frame = axes.get_window_extent(renderer)
    corners_Lx2 = place_labels(
        pixels_Px2[order], sizes, pixels_Px2, (frame.x0, frame.y0, frame.x1, frame.y1)
    )
    for text, index, size, corner in zip(written, order, sizes, corners_Lx2, strict=True):
        if np.isnan(corner).any():
            text.remove()
            continue
        text.set_position(corner)
        near = np.clip(pixels_Px2[index], corner, corner + size)
        if np.hypot(*(near - pixels_Px2[index])) > 9:
            ends = axes.transData.inverted().transform([pixels_Px2[index], near])
            color = _CLASS if index >= phrases else _PHRASE
            axes.plot(*ends.T, color=color, linewidth=0.6, alpha=0.5, zorder=0.5)
    return int(np.sum(~np.isnan(corners_Lx2[:, 0])))
