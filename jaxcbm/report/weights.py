"""What the classes read: each one's strongest concepts as bars, and as ribbons for few classes."""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxcbm.evaluation.results.schema import ClassWeights, Weights
from jaxcbm.report.metric_names import Metric, number

POSITIVE, NEGATIVE = 4, 3
MOST_CLASSES_AS_RIBBONS = 12
_WEIGHT = Metric("", 0, digits=2)
_WIDTH, _LEFT, _RIGHT, _GAP = 760, 210, 560, 5.0
# As many letters as fit beside the nodes.
_LETTERS = 28


class Ribbon(NamedTuple):
    """A weight between concept `phrase` and class number `label`."""

    phrase: str
    label: int
    weight: float


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


def weight_bars(weights: Weights) -> str:
    """A card a class with its strongest concepts as bars, on one scale for all classes."""
    chosen = [(each.name, strongest(each), len(each.weights)) for each in weights.classes]
    largest = max((abs(w) for _, pairs, _ in chosen for _, w in pairs), default=1.0)
    cards = []
    for name, pairs, count in chosen:
        lines = "".join(bar_line(phrase, weight, largest) for phrase, weight in pairs)
        more = f"<p class='more'>and {count - len(pairs)} more</p>" if count > len(pairs) else ""
        none = "" if pairs else "<p class='more'>no concepts</p>"
        cards.append(
            f"<article class='card'><h4>{html.escape(name)}</h4>"
            f"<table class='bars'>{lines}</table>{none}{more}</article>"
        )
    return f"<div class='cards'>{''.join(cards)}</div>"


def bar_line(phrase: str, value: float, largest: float, kind: str = "") -> str:
    """A table row: phrase, signed value, and a bar as long as its share of `largest`."""
    share = 100.0 * min(abs(value) / largest, 1.0) if math.isfinite(value) and largest else 0.0
    kind = kind or ("positive" if value > 0 else "negative")
    sign = "+" if value > 0 else ""
    return (
        f"<tr><th>{html.escape(phrase)}</th><td class='number'>{sign}{number(value, _WEIGHT)}</td>"
        f"<td class='bar'><div class='{kind}' style='width:{share:.1f}%'></div></td></tr>"
    )


def ribbons(weights: Weights) -> str:
    """Concepts on the left, classes on the right, ribbons as wide as weights; "" for many classes.

    Negative weights have a dashed edge. Concepts stand in the mean order of their classes, so that
    few ribbons cross.
    """
    if len(weights.classes) > MOST_CLASSES_AS_RIBBONS:
        return ""
    links = [
        Ribbon(phrase, label, weight)
        for label, each in enumerate(weights.classes)
        for phrase, weight in strongest(each)
    ]
    if not links:
        return ""
    phrases = _order(links)
    # On average a concept's node is as high as its line of text.
    scale = 15.0 * len(phrases) / sum(abs(link.weight) for link in links)
    left = _stack([_total(links, phrase=p) * scale for p in phrases], 15.0)
    height = left[-1][1] + _GAP
    names = [each.name for each in weights.classes]
    sizes = [_total(links, label=i) * scale for i in range(len(names))]
    right = _spread(sizes, height)
    drawn = _bands(links, phrases, left, right, scale)
    drawn += [_node(_LEFT, *span, p, "end") for p, span in zip(phrases, left, strict=True)]
    drawn += [_node(_RIGHT, *span, n, "start") for n, span in zip(names, right, strict=True)]
    return (
        f"<div class='wide'><svg class='ribbons' viewBox='0 0 {_WIDTH} {height:.0f}' role='img' "
        f"aria-label='Concepts and the classes that read them'>{''.join(drawn)}</svg></div>"
    )


def _order(links: Sequence[Ribbon]) -> list[str]:
    """Phrases by the weighted mean position of their classes."""
    sums: dict[str, tuple[float, float]] = {}
    for phrase, label, weight in links:
        total, mass = sums.get(phrase, (0.0, 0.0))
        sums[phrase] = (total + abs(weight) * label, mass + abs(weight))
    return sorted(sums, key=lambda phrase: (sums[phrase][0] / sums[phrase][1], phrase))


def _total(links: Sequence[Ribbon], phrase: str | None = None, label: int | None = None) -> float:
    return sum(abs(x.weight) for x in links if phrase == x.phrase or label == x.label)


def _stack(sizes: Sequence[float], least: float) -> list[tuple[float, float]]:
    """Top and bottom of nodes below each other, each with room for a line of text."""
    spans, top = [], _GAP
    for size in sizes:
        room = max(size, least)
        middle = top + room / 2
        spans.append((middle - size / 2, middle + size / 2))
        top += room + _GAP
    return spans


def _spread(sizes: Sequence[float], height: float) -> list[tuple[float, float]]:
    """The same over a given height, with equal gaps."""
    gap = (height - sum(sizes)) / (len(sizes) + 1)
    spans, top = [], gap
    for size in sizes:
        spans.append((top, top + size))
        top += size + gap
    return spans


def _bands(
    links: Sequence[Ribbon],
    phrases: Sequence[str],
    left: Sequence[tuple[float, float]],
    right: Sequence[tuple[float, float]],
    scale: float,
) -> list[str]:
    """Ribbons leave and reach their nodes in the order of what stands opposite."""
    at_phrase = {phrase: span[0] for phrase, span in zip(phrases, left, strict=True)}
    at_class = [span[0] for span in right]
    rank = {phrase: i for i, phrase in enumerate(phrases)}
    starts: dict[Ribbon, float] = {}
    for link in sorted(links, key=lambda x: (rank[x.phrase], x.label)):
        starts[link] = at_phrase[link.phrase]
        at_phrase[link.phrase] += abs(link.weight) * scale
    bands = []
    for link in sorted(links, key=lambda x: (x.label, rank[x.phrase])):
        width = abs(link.weight) * scale
        a, b = starts[link], at_class[link.label]
        at_class[link.label] += width
        bands.append(_band(a, b, width, link.weight > 0))
    return bands


def _band(a: float, b: float, width: float, positive: bool) -> str:
    x0, x1, middle = _LEFT + 8, _RIGHT - 8, (_LEFT + _RIGHT) / 2
    path = (
        f"M{x0},{a:.1f} C{middle:.0f},{a:.1f} {middle:.0f},{b:.1f} {x1},{b:.1f} "
        f"V{b + width:.1f} C{middle:.0f},{b + width:.1f} {middle:.0f},{a + width:.1f} "
        f"{x0},{a + width:.1f} Z"
    )
    return f"<path class='ribbon {'positive' if positive else 'negative'}' d='{path}'/>"


def _node(x: float, top: float, bottom: float, name: str, anchor: str) -> str:
    text_x = x - 6 if anchor == "end" else x + 6
    bar_x = x if anchor == "end" else x - 8
    # Phrases often differ in their last word alone.
    half = _LETTERS // 2
    shown = name if len(name) <= _LETTERS else f"{name[: half - 1]}\u2026{name[-half:]}"
    return (
        f"<rect class='node' x='{bar_x}' y='{top:.1f}' width='8' height='{bottom - top:.1f}'/>"
        f"<text class='{anchor}' x='{text_x}' y='{(top + bottom) / 2 + 4:.1f}'>"
        f"<title>{html.escape(name)}</title>{html.escape(shown)}</text>"
    )
