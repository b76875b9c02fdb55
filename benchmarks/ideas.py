"""Draw the pictures of docs/ideas.md from docs/results.

python -m benchmarks.ideas      # writes docs/pictures/ideas/*.svg
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from jaxcbm.atomic import write_text
from jaxcbm.charts import curves_over_seeds, inline_svg, reliability_curve, styled
from jaxcbm.evaluation.results.file import read_result
from jaxcbm.experiment.methods import DEFAULT
from jaxcbm.palette import PALETTE, light

# A picture of its own, beside text: its colours follow the reader's choice of light or dark.
_OPENING = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
_STYLE = (
    "svg{{{light}background:var(--page);font-family:sans-serif}}"
    "@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
)
_SIZE = (6.4, 3.0)
_NEC_ROWS = (DEFAULT, "Sparse-CBM, paired", "Label-free CBM", "VLG-CBM", "LaBo", "CDM")
_LEAKS = ("own scores as they are", "own top scores", "own top scores, erasure 1")
_POLICIES = ("carried", "greedy", "random")


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--folder", type=Path, default=Path("docs/pictures/ideas"))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        write_text(args.folder / f"{name}.svg", standalone(*draw(args.results)))


def standalone(figure: Figure, label: str) -> str:
    """A picture as an SVG file, in the colours that its reader prefers."""
    drawn = inline_svg(figure, label, tight=True)
    light_, dark = ("".join(f"--{n}:{c[i]};" for n, c in PALETTE.items()) for i in (0, 1))
    style = _STYLE.format(light=light_, dark=dark)
    head, body = drawn.split(">", 1)
    return f"{_OPENING}{head.removeprefix('<svg ')}><style>{style}</style>{body}\n"


@styled
def bottleneck(results: Path) -> tuple[Figure, str]:
    """Boxes and arrows: from a picture and phrases to concepts, and from these to a class."""
    figure = Figure(figsize=(7.6, 2.7))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 3.5))
    axes.axis("off")
    for x, y, text in (
        (0.75, 2.7, "picture"),
        (0.75, 0.7, "phrases"),
        (2.45, 2.7, "image\ntower"),
        (2.45, 0.7, "text\ntower"),
        (4.15, 1.7, "concept\nscores"),
        (5.85, 1.7, "concept\nactivations"),
        (9.3, 1.7, "class"),
    ):
        _box(axes, x, y, text)
    for start, end in (
        ((1.35, 2.7), (1.85, 2.7)),
        ((1.35, 0.7), (1.85, 0.7)),
        ((3.05, 2.5), (3.6, 2.1)),
        ((3.05, 0.9), (3.6, 1.3)),
        ((4.75, 1.7), (5.25, 1.7)),
    ):
        _arrow(axes, start, end, "neutral")
    told = [reason for reason in _explained(results)["reasons"] if reason[1] > 0]
    reasons = [(said.partition(" (")[0], weight) for said, weight in told[:3]]
    for turn, (phrase, weight) in zip((1, 0, -1), reasons, strict=True):
        _arrow(axes, (6.5, 1.7 + 0.3 * turn), (8.7, 1.7 + 0.3 * turn), "positive")
        place = {"va": "top" if turn < 0 else "bottom", "ha": "center", "fontsize": 8.5}
        axes.text(7.55, 1.73 + 0.3 * turn - 0.1 * (turn < 0), f"{phrase} {weight:+.2f}", **place)
    axes.text(2.45, 3.25, "frozen encoder", ha="center", fontsize=8.5, color=light("faint"))
    axes.text(
        7.9, 0.25, "head: few weights a class", ha="center", fontsize=8.5, color=light("faint")
    )
    return (
        figure,
        "A concept bottleneck: picture and phrases to concept scores, activations and a class",
    )


def _box(axes: Axes, x: float, y: float, text: str) -> None:
    box = FancyBboxPatch(
        (x - 0.55, y - 0.42), 1.1, 0.84, boxstyle="round,pad=0.05", linewidth=1,
        facecolor=light("card"), edgecolor=light("neutral"),
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    line = {"arrowstyle": "-|>", "color": light(color), "linewidth": 1.2}
    axes.annotate("", xy=end, xytext=start, arrowprops=line)


@styled
def nec(results: Path) -> tuple[Figure, str]:
    """Accuracy against the number of concepts a class uses, of some methods."""
    rows = {row.name: row.nec_curve for row in _birds(results).rows}
    curves = {
        name: (curve.targets, curve.accuracies)
        for name in _NEC_ROWS
        if (curve := rows.get(name)) is not None
    }
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    lines = curves_over_seeds(axes, curves)
    axes.set(xlabel="effective concepts a class (NEC)", ylabel="top-1 on test")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(
        lines.values(), lines.keys(), fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    return figure, "Accuracy against the number of concepts that a class uses, birds"


@styled
def intervention(results: Path) -> tuple[Figure, str]:
    """Accuracy after so many corrections, by who chooses the concept."""
    told = {
        c.policy: c
        for c in _birds(results).interventions
        if c.row == DEFAULT and c.values == "expert"
    }
    figure = Figure(figsize=_SIZE)
    axes = figure.subplots()
    curves = {name: (told[name].counts, told[name].accuracies) for name in _POLICIES}
    lines = curves_over_seeds(axes, curves)
    axes.set(xlabel="concepts set to the truth", ylabel="top-1 on test")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(lines.values(), lines.keys(), fontsize=8)
    return figure, "Accuracy against the number of corrected concepts, by policy, birds"


@styled
def calibration(results: Path) -> tuple[Figure, str]:
    """How often the model is right, against how sure it is."""
    bins = next(each for each in _birds(results).reliability if each.row == DEFAULT)
    figure = Figure(figsize=(4.0, 3.2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=light("neutral"), linewidth=1, linestyle="--")
    reliability_curve(axes, bins.confidences, bins.accuracies, bins.counts)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability of the predicted class")
    axes.set(ylabel="share of right predictions")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure, "Reliability diagram of the default model, birds"


@styled
def leakage(results: Path) -> tuple[Figure, str]:
    """Classes read from phrases that say nothing of them."""
    rules = _json(results / "leakage.json")["rules"]["all"]
    shares = {name: fmean(run["nuisances"] for run in rules[name]) for name in _LEAKS}
    default = next(row for row in _birds(results).rows if row.name == DEFAULT)
    shares["chance"] = fmean(default.metrics["leakage_chance"])
    figure = _bars(shares, "classes read from nuisance phrases alone")
    return figure, "Leakage: share of classes that a network reads from irrelevant phrases, birds"


@styled
def familiarity(results: Path) -> tuple[Figure, str]:
    """Images called unlike train, by what they show."""
    called = _json(results / "familiarity.json")["birds"]["called_unfamiliar"]
    figure = _bars({name: fmean(v) for name, v in called.items()}, "called unlike all train images")
    return figure, "Share of images that are called unlike train, by what they show"


def _bars(shares: Mapping[str, float], label: str) -> Figure:
    figure = Figure(figsize=(_SIZE[0], 0.55 + 0.36 * len(shares)))
    axes = figure.subplots()
    names = list(shares)
    axes.barh(names, list(shares.values()), color=light("c0"), height=0.6)
    for y, share in enumerate(shares.values()):
        axes.text(share + 0.01, y, f"{100 * share:.0f} %", va="center", fontsize=8.5)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1.1), xlabel=label)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def _explained(results: Path) -> Any:
    """What the picture of the quick start says of the first bird that it shows."""
    with Image.open(results.parent / "pictures" / "explanation.png") as picture:
        return json.loads(picture.info["Description"])[0]


def _birds(results: Path) -> Any:
    return read_result(results / "methods" / "birds-official.json")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


PICTURES: dict[str, Callable[[Path], tuple[Figure, str]]] = {
    "bottleneck": bottleneck,
    "nec": nec,
    "intervention": intervention,
    "calibration": calibration,
    "leakage": leakage,
    "familiarity": familiarity,
}


if __name__ == "__main__":
    main()
