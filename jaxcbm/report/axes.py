"""Line charts as inline SVG: scales, ticks, curves with bands, and a legend in HTML beside them.

Colours are CSS classes, so that one drawing suits a light page, a dark one and paper; dashes and
markers tell curves apart without colour.
"""

import html
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 420, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 42
COLORS = 8
_DASHES = ("", "6 4", "2 3", "8 3 2 3")
# Corners in units of the radius; the first marker is a circle.
_MARKERS = (
    (),
    ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
    ((0.0, -1.3), (1.2, 1.0), (-1.2, 1.0)),
    ((0.0, -1.4), (1.4, 0.0), (0.0, 1.4), (-1.4, 0.0)),
)


class Curve(NamedTuple):
    """A named curve.

    Attributes:
        name: for the legend.
        points: (x, y), rising in x; a y that is not finite leaves a gap.
        spread: half the height of the band at each point; NaN for none. Empty for no band.
        style: which colour, dash and marker.
        sizes: radius of each marker in pixels; empty for the usual one.
    """

    name: str
    points: Sequence[tuple[float, float]]
    spread: Sequence[float] = ()
    style: int = 0
    sizes: Sequence[float] = ()


class Axis(NamedTuple):
    """A label, a range, and whether values are shares that ticks give in per cent."""

    label: str
    low: float
    high: float
    percent: bool = False


def fitted_axis(label: str, values: Sequence[float], *, percent: bool = False) -> Axis:
    """An axis whose range is that of the values, widened to whole ticks.

    >>> fitted_axis("x", [3.0, 27.0])[1:3]
    (0.0, 30.0)
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if high - low < 1e-9:
        low, high = low - 0.05, high + 0.05
    step = _tick_step(high - low)
    return Axis(label, math.floor(low / step) * step, math.ceil(high / step) * step, percent)


def line_chart(
    title: str, curves: Sequence[Curve], x: Axis, y: Axis, *, diagonal: bool = False
) -> str:
    """Curves with bands over a grid, as SVG that scales with its box.

    Args:
        title: what a screen reader says.
        curves: drawn in their order.
        x: horizontal axis.
        y: vertical axis.
        diagonal: whether to draw y = x.
    """
    place = _scale(x, y)
    parts = [_grid(x, y, place)]
    if diagonal:
        parts.append(_line([place(x.low, x.low), place(x.high, x.high)], "diagonal"))
    parts += [_band(curve, place) for curve in curves if curve.spread]
    parts += [_drawn(curve, place) for curve in curves]
    name = html.escape(title)
    return (
        f"<svg class='chart' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{name}'>"
        f"{''.join(parts)}</svg>"
    )


def legend(curves: Sequence[Curve]) -> str:
    """The curves' names with their colours, dashes and markers, as a list that wraps."""
    items = []
    for curve in curves:
        middle = [(2.0, 7.0), (30.0, 7.0)]
        marker = _marker(curve.style, 16.0, 7.0, 3.2)
        swatch = _line(middle, f"s{curve.style % COLORS}", _dash(curve.style)) + marker
        items.append(
            "<li><svg class='swatch' viewBox='0 0 32 14' width='32' height='14' aria-hidden='true'>"
            f"{swatch}</svg> {html.escape(curve.name)}</li>"
        )
    return f"<ul class='legend'>{''.join(items)}</ul>"


Place = Callable[[float, float], tuple[float, float]]


def _scale(x: Axis, y: Axis) -> Place:
    across = (WIDTH - _LEFT - _RIGHT) / (x.high - x.low)
    up = (HEIGHT - _TOP - _BOTTOM) / (y.high - y.low)
    return lambda a, b: (_LEFT + (a - x.low) * across, HEIGHT - _BOTTOM - (b - y.low) * up)


def _tick_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that gives four to eight ticks."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 8)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    step = _tick_step(axis.high - axis.low)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    values = [i * step for i in range(first, last + 1)]
    factor = 100.0 if axis.percent else 1.0
    digits = max(0, -math.floor(math.log10(step * factor) + 1e-9))
    return [(value, f"{value * factor:.{digits}f}") for value in values]


def _grid(x: Axis, y: Axis, place: Place) -> str:
    bottom, left = HEIGHT - _BOTTOM, _LEFT
    parts = []
    for value, text in _ticks(y):
        _, v = place(x.low, value)
        parts.append(_line([(left, v), (WIDTH - _RIGHT, v)], "grid"))
        parts.append(f"<text x='{left - 6}' y='{v + 4:.1f}' class='end'>{_minus(text)}</text>")
    for value, text in _ticks(x):
        u, _ = place(value, y.low)
        parts.append(_line([(u, bottom), (u, bottom + 4)], "axis"))
        parts.append(f"<text x='{u:.1f}' y='{bottom + 17}' class='mid'>{_minus(text)}</text>")
    parts.append(_line([(left, bottom), (WIDTH - _RIGHT, bottom)], "axis"))
    middle, centre = (left + WIDTH - _RIGHT) / 2, (_TOP + bottom) / 2
    parts.append(
        f"<text x='{middle:.1f}' y='{HEIGHT - 6}' class='mid'>{html.escape(x.label)}</text>"
        f"<text transform='translate(12 {centre:.1f}) rotate(-90)' class='mid'>"
        f"{html.escape(y.label)}</text>"
    )
    return "".join(parts)


def _drawn(curve: Curve, place: Place) -> str:
    spots = [(place(a, b) if math.isfinite(b) else None) for a, b in curve.points]
    parts, run = [], []
    for spot in [*spots, None]:
        if spot is not None:
            run.append(spot)
        elif run:
            parts.append(_line(run, f"s{curve.style % COLORS}", _dash(curve.style)))
            run = []
    sizes = curve.sizes or [2.6] * len(spots)
    parts += [
        _marker(curve.style, *spot, size)
        for spot, size in zip(spots, sizes, strict=True)
        if spot is not None
    ]
    return "".join(parts)


def _band(curve: Curve, place: Place) -> str:
    known = [
        (a, b, half)
        for (a, b), half in zip(curve.points, curve.spread, strict=True)
        if math.isfinite(b) and math.isfinite(half)
    ]
    if len(known) < 2:
        return ""
    above = [place(a, b + half) for a, b, half in known]
    below = [place(a, b - half) for a, b, half in reversed(known)]
    return f"<g class='band f{curve.style % COLORS}'>{_polygon(*above, *below)}</g>"


def _line(points: Sequence[tuple[float, float]], kind: str, dash: str = "") -> str:
    path = " ".join(f"{u:.1f},{v:.1f}" for u, v in points)
    dashes = f" stroke-dasharray='{dash}'" if dash else ""
    return f"<polyline class='{kind}' points='{path}'{dashes}/>"


def _polygon(*points: tuple[float, float]) -> str:
    return f"<polygon points='{' '.join(f'{u:.1f},{v:.1f}' for u, v in points)}'/>"


def _marker(style: int, u: float, v: float, radius: float) -> str:
    corners = _MARKERS[(style + style // COLORS) % len(_MARKERS)]
    shape = f"<circle cx='{u:.1f}' cy='{v:.1f}' r='{radius:.1f}'/>"
    if corners:
        shape = _polygon(*((u + x * radius, v + y * radius) for x, y in corners))
    return f"<g class='f{style % COLORS}'>{shape}</g>"


def _dash(style: int) -> str:
    return _DASHES[(style // COLORS) % len(_DASHES)]


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")
