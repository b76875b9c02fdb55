"""What was measured of every method at every level of every dial of the birds."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.schema import ResultFile
from jaxcbm.report.csv_file import row_values
from jaxcbm.report.metric_names import summarise

# What is drawn, and written behind it.
METRICS = ("top1", "top1_at_nec_5", "concept_auc", "explanation_truth_5")
COLUMNS = ("dial", "level", "method", "metric", "mean", "deviation", "seeds")


class Point(NamedTuple):
    """One metric of one method at one level of one dial.

    Attributes:
        dial: its name.
        level: 0 to 1.
        method: name of the row.
        metric: one of `METRICS`.
        values: one a seed, or a single one.
    """

    dial: str
    level: float
    method: str
    metric: str
    values: Sequence[float]


def points_of(results: Sequence[ResultFile]) -> list[Point]:
    """What was measured, dial by dial and level by level; all at zero begins each dial.

    Raises:
        UserError: none or several of the results have all dials at zero, or one has several turned.
    """
    zero = [result for result in results if not result.dials]
    turned = sorted((r for r in results if r.dials), key=lambda r: [*r.dials.values()])
    if len(zero) != 1 or any(len(result.dials) > 1 for result in turned):
        raise UserError("give one result of all dials at zero, and others of one dial each")
    return [
        Point(dial, result.dials.get(dial, 0.0), row.name, name, values)
        for dial in dict.fromkeys(dial for result in results for dial in result.dials)
        for result in (*zero, *(result for result in turned if dial in result.dials))
        for row in result.rows
        for name, values in row_values(row).items()
        if name in METRICS
    ]


def csv_text(points: Sequence[Point]) -> str:
    """The numbers behind the curves: mean and sample standard deviation over seeds."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for point in points:
        mean, deviation, count = summarise(point.values)
        numbers = ("" if x != x else f"{x:.6g}" for x in (mean, deviation))
        writer.writerow((point.dial, point.level, point.method, point.metric, *numbers, count))
    return buffer.getvalue()


def dials_of(points: Sequence[Point]) -> dict[str, list[float]]:
    """Dial -> its levels, rising."""
    levels: dict[str, set[float]] = {}
    for point in points:
        levels.setdefault(point.dial, set()).add(point.level)
    return {dial: sorted(found) for dial, found in levels.items()}
