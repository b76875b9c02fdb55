"""The page of the birds' dials: curves, tables and CSV of what each does to every method."""

from collections.abc import Sequence
from pathlib import Path

from jaxcbm.atomic import atomic_file, write_text
from jaxcbm.evaluation.results.schema import ResultFile
from jaxcbm.pages import render
from jaxcbm.report.dials_figures import TITLES, curves_figure, pictures_figure
from jaxcbm.report.dials_points import METRICS, Point, csv_text, dials_of, points_of
from jaxcbm.report.facts import duration, facts
from jaxcbm.report.metric_names import mean_and_deviation, metric, summarise
from jaxcbm.report.tables import Cell, Group, Table

_FACTS = ("encoder", "images", "seeds", "hardware")


def write_page(results: Sequence[ResultFile], folder: Path) -> list[Path]:
    """Write dials.md, results/dials.csv and the pictures of the page.

    Args:
        results: of `jaxcbm dials`.
        folder: where to.

    Returns:
        The files written.

    Raises:
        UserError: as `points_of`.
    """
    points = points_of(results)
    page, table = folder / "dials.md", folder / "results" / "dials.csv"
    write_text(page, page_text(results))
    write_text(table, csv_text(points))
    drawn = {"dials": curves_figure(points), "dials_birds": pictures_figure(dials_of(points))}
    pictures = [folder / "pictures" / f"{name}.png" for name in drawn]
    for picture, figure in zip(pictures, drawn.values(), strict=True):
        with atomic_file(picture) as temporary:
            figure.savefig(temporary)
    return [page, table, *pictures]


def page_text(results: Sequence[ResultFile]) -> str:
    """dials.md."""
    points = points_of(results)
    zero = next(result for result in results if not result.dials)
    told = dict(facts(zero))
    return render(
        "dials.md",
        facts={what: told[what] for what in _FACTS},
        command=zero.command,
        time=duration(sum(result.seconds for result in results)),
        tables=[_table(points, name) for name in METRICS],
    )


def _table(points: Sequence[Point], name: str) -> Table:
    """A metric with all dials at zero, and with each as far as it was turned."""
    column = metric(name)
    own = [point for point in points if point.metric == name]
    ends = {dial: levels[-1] for dial, levels in dials_of(points).items()}
    at = {(p.dial, p.level, p.method): p for p in own}
    lines = []
    for method in dict.fromkeys(p.method for p in own):
        first = next(iter(ends))
        places = [(first, 0.0), *ends.items()]
        found = [at.get((*place, method)) for place in places]
        texts = (
            mean_and_deviation(summarise(point.values if point else ()), column) for point in found
        )
        lines.append((Cell(method), *map(Cell, texts)))
    header = ("method", "all at 0", *(f"{TITLES[dial]} {level:g}" for dial, level in ends.items()))
    return Table(column.label, header, (Group("", tuple(lines)),))
