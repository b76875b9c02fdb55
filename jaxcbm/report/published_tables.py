"""Published accuracies as tables, apart from ours and labelled so."""

from collections.abc import Callable

from jaxcbm.evaluation.results.schema import MethodResult, ResultFile
from jaxcbm.report.metric_names import MetricFormat, mean_and_deviation, summarise
from jaxcbm.report.published import DATASETS, PUBLISHED, SOURCES, Published, published_dataset
from jaxcbm.report.tables import Cell, Group, Table, at_nec

_SHARE = MetricFormat("", 1, True, 1)


def published_table(result: ResultFile) -> Table | None:
    """Published accuracies on this dataset beside ours; None where there are none.

    Beside an accuracy at some NEC stands ours at that NEC, of the first row with the same method.
    """
    dataset = published_dataset(result.dataset)
    if dataset is None:
        return None
    ours: dict[str, MethodResult] = {}
    for row in result.rows:
        ours.setdefault(row.published_as, row)

    def cells(line: Published) -> tuple[str, ...]:
        here = _same_measure(ours.get(line.method), line)
        return (_number(line.accuracies.get(dataset)), mean_and_deviation(summarise(here), _SHARE))

    lines = tuple(line for line in PUBLISHED if dataset in line.accuracies)
    return _by_source(
        f"Published on {DATASETS[dataset]}, not measured here",
        ("published %", "this run, same method, %"),
        lines,
        cells,
        "Published numbers come from other encoders, splits and concept sets than this run's.",
    )


def all_published_table() -> Table:
    """Every published accuracy, for reports on data that nobody else has published on."""
    return _by_source(
        "Accuracy % on other datasets, not measured here",
        tuple(DATASETS.values()),
        PUBLISHED,
        lambda line: tuple(_number(line.accuracies.get(dataset)) for dataset in DATASETS),
        "For orientation only: other images, encoders, splits and concept sets than above.",
    )


def _by_source(
    caption: str,
    header: tuple[str, ...],
    lines: tuple[Published, ...],
    cells: Callable[[Published], tuple[str, ...]],
    note: str,
) -> Table:
    grouped: dict[str, list[tuple[Cell, ...]]] = {}
    for line in lines:
        name = line.name if line.nec is None else f"{line.name}, NEC {line.nec}"
        texts = (name, line.setting, *cells(line))
        grouped.setdefault(line.source, []).append(tuple(map(Cell, texts)))
    groups = (
        Group(f"{SOURCES[key].paper}; {SOURCES[key].place}", tuple(body), SOURCES[key].url)
        for key, body in grouped.items()
    )
    return Table(caption, ("method", "encoder", *header), tuple(groups), (note,))


def _same_measure(row: MethodResult | None, line: Published) -> list[float]:
    if row is None:
        return []
    return list(row.metrics.get("top1", ())) if line.nec is None else at_nec(row, line.nec)


def _number(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:g}"
