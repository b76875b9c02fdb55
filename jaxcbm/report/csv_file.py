"""Result files as CSV, one line a method and metric."""

from collections.abc import Iterator, Sequence

from jaxcbm.csv_text import as_csv
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
    return as_csv(COLUMNS, _rows(results))


def _rows(results: Sequence[ResultFile]) -> Iterator[tuple[str | float, ...]]:
    for result in results:
        for row in result.rows:
            texts = (result.dataset, result.protocol, result.encoder, row.name, row.kind)
            for name, values in row_values(row).items():
                given = ", ".join(row.given)
                yield (*texts, int(row.sparse), given, name, *summarise(values))


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
