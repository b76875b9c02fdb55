"""The curves of a report: accuracy against sparsity, reliability, interventions."""

import html
import math
from collections.abc import Sequence

from jaxcbm.evaluation.results.schema import Interventions, Reliability, ResultFile
from jaxcbm.report.axes import Axis, Curve, fitted_axis, legend, line_chart
from jaxcbm.report.metric_names import Metric, number, summarise

_SHARE = Metric("", 0, True, 1)


def nec_figure(result: ResultFile) -> str:
    """Accuracy against NEC of every method that has a path, with a band of one deviation."""
    curves = []
    for row in result.rows:
        if row.nec_curve:
            targets, seeds = row.nec_curve.targets, row.nec_curve.accuracies
            curves.append(_over_seeds(row.name, targets, seeds, len(curves)))
    if not curves:
        return ""
    x = fitted_axis("concepts a class uses (NEC)", [a for c in curves for a, _ in c.points])
    return _figure(
        "Accuracy against sparsity",
        "Band: one deviation over seeds.",
        line_chart("Top-1 against NEC", curves, x, _accuracy_axis(curves)) + legend(curves),
    )


def reliability_figures(result: ResultFile) -> str:
    """For each model, accuracy against confidence; markers grow with their share of images."""
    return "".join(_reliability(bins) for bins in result.reliability if sum(bins.counts))


def intervention_figures(result: ResultFile) -> str:
    """For each model, accuracy against the number of concepts set, a curve a policy."""
    drawn = []
    kinds = list(dict.fromkeys((c.policy, c.values) for c in result.interventions))
    for name in dict.fromkeys(curve.row for curve in result.interventions):
        mine = [curve for curve in result.interventions if curve.row == name]
        drawn.append(_interventions(name, mine, kinds))
    return "".join(drawn)


def calibration_error(bins: Reliability) -> float:
    """Mean distance of accuracy from confidence over images, 0 to 1.

    >>> calibration_error(Reliability("ours", (0.5, 0.9), (0.5, 0.8), (10, 30)))
    0.075
    """
    gaps = zip(bins.counts, bins.accuracies, bins.confidences, strict=True)
    total = sum(bins.counts)
    return round(sum(n * abs(a - c) for n, a, c in gaps if n) / total, 12) if total else math.nan


def _reliability(bins: Reliability) -> str:
    groups = [
        (c, a, n)
        for c, a, n in zip(bins.confidences, bins.accuracies, bins.counts, strict=True)
        if n and math.isfinite(a) and math.isfinite(c)
    ]
    largest = max((n for *_, n in groups), default=1)
    sizes = [1.5 + 6.0 * math.sqrt(n / largest) for *_, n in groups]
    curve = Curve(bins.row, [(c, a) for c, a, _ in groups], sizes=sizes)
    x, y = Axis("confidence %", 0.0, 1.0, True), Axis("accuracy %", 0.0, 1.0, True)
    return _figure(
        bins.row,
        f"ECE {number(calibration_error(bins), _SHARE)} %. Area: number of images.",
        line_chart(f"Reliability of {bins.row}", [curve], x, y, diagonal=True),
    )


def _interventions(
    name: str, curves: Sequence[Interventions], kinds: Sequence[tuple[str, str]]
) -> str:
    """A policy has the same style in every model's figure."""
    drawn = [
        _over_seeds(
            f"{curve.policy}, values from {curve.values}",
            curve.counts,
            curve.accuracies,
            kinds.index((curve.policy, curve.values)),
        )
        for curve in curves
    ]
    x = fitted_axis("concepts set", [a for c in drawn for a, _ in c.points])
    chart = line_chart(f"Interventions on {name}", drawn, x, _accuracy_axis(drawn))
    return _figure(name, "Band: one deviation over seeds.", chart + legend(drawn))


def _over_seeds(
    name: str, xs: Sequence[float], seeds: Sequence[Sequence[float]], style: int
) -> Curve:
    columns = [summarise(column) for column in zip(*seeds, strict=True)]
    points = [(x, summary.mean) for x, summary in zip(xs, columns, strict=True)]
    return Curve(name, sorted(points), _sorted_by(xs, [s.deviation for s in columns]), style)


def _sorted_by(xs: Sequence[float], values: Sequence[float]) -> list[float]:
    return [value for _, value in sorted(zip(xs, values, strict=True), key=lambda pair: pair[0])]


def _accuracy_axis(curves: Sequence[Curve]) -> Axis:
    edges = []
    for curve in curves:
        for (_, y), half in zip(curve.points, curve.spread, strict=True):
            half = half if math.isfinite(half) else 0.0
            edges += [max(y - half, 0.0), min(y + half, 1.0)]
    return fitted_axis("top-1 %", edges, percent=True)


def _figure(title: str, caption: str, drawing: str) -> str:
    return (
        f"<figure><h4>{html.escape(title)}</h4>{drawing}"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
