"""Result files as CSV, one line a method and metric."""

import csv
import io
import math
from collections.abc import Sequence

from jaxcbm.csv_text import as_cell
from jaxcbm.evaluation.results.schema import MethodResult, ResultFile
from jaxcbm.report.metric_names import summarise

COLUMNS = (
    *("dataset", "protocol", "encoder", "method", "kind", "sparse", "given"),
    *("metric", "mean", "deviation", "seeds"),
)


def csv_text(results: Sequence[ResultFile]) -> str:
    """Mean, sample standard deviation and number of seeds of every metric of every method.

    Fitting time is the metric `seconds`; points of NEC curves are `top1_at_nec_5` and so on. Shares
    are 0 to 1. A number that does not exist is empty.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        for row in result.rows:
            texts = (result.dataset, result.protocol, result.encoder, row.name, row.kind)
            for name, values in row_values(row).items():
                mean, deviation, count = summarise(values)
                given = ", ".join(row.given)
                head = (*map(as_cell, texts), int(row.sparse), given, as_cell(name))
                writer.writerow((*head, _digits(mean), _digits(deviation), count))
    return buffer.getvalue()


def row_values(row: MethodResult) -> dict[str, Sequence[float]]:
    """Every metric of a method, its fitting time and points of its NEC curve, a value a seed."""
    values: dict[str, Sequence[float]] = dict(row.metrics)
    if row.seconds:
        values["seconds"] = row.seconds
    if row.nec_curve:
        columns = zip(*row.nec_curve.accuracies, strict=True)
        for target, column in zip(row.nec_curve.targets, columns, strict=True):
            values[f"top1_at_nec_{target:g}"] = column
    return values


def _digits(value: float) -> str:
    return f"{value:.8g}" if math.isfinite(value) else ""
