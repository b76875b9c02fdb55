"""Result files to tables: pure functions from data to cells, before any markup."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxcbm.evaluation.results.schema import MethodResult, ResultFile
from jaxcbm.report.facts import Section
from jaxcbm.report.metric_names import (
    METRICS,
    MetricFormat,
    Summary,
    best,
    mean_and_deviation,
    metric,
    number,
    summarise,
)

_SHARE = MetricFormat("", 1, True, 1)
_TIME = MetricFormat("", 0, digits=1)


class Cell(NamedTuple):
    """Text of a cell, and whether it is the best of its column and group."""

    text: str
    best: bool = False


class Group(NamedTuple):
    """Lines under a heading that may link somewhere; the first cell of a line is its name."""

    title: str
    lines: tuple[tuple[Cell, ...], ...]
    link: str = ""


class Table(NamedTuple):
    """A caption, column headings, groups of lines, and sentences below."""

    caption: str
    header: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()


def main_table(result: ResultFile) -> Table:
    """Methods by the metrics of DESIGN: mean and deviation over seeds, sparse models apart."""
    names = [name for name in METRICS if any(name in row.metrics for row in result.rows)]
    count = len(result.seeds)
    notes = [
        f"Mean \u00b1 sample standard deviation over {count} seed{'s' * (count > 1)}; a number "
        "alone does not depend on the seed or was measured once.",
        "Bold: the best mean of its group, and means within its deviation.",
    ]
    meanings = [
        f"{c.label.removesuffix(' %')}: {c.meaning}" for c in map(metric, names) if c.meaning
    ]
    notes += [f"{'; '.join(meanings)}."] if meanings else []
    if _told(result.rows):
        notes.append(
            "Given: what a method was told besides images, phrases and class names: labels of "
            "train images, annotations of their concepts, texts on what concepts a class has."
        )
    notes += [f"{row.name}: {row.note}" for row in result.rows if row.note]
    caption = "Methods on the test split"
    return _metric_table(caption, result, names, tuple(notes), times=True)


def further_table(result: ResultFile) -> Table | None:
    """The metrics that the main table has no room for; None without any."""
    every = dict.fromkeys(name for row in result.rows for name in row.metrics)
    names = [name for name in every if name not in METRICS]
    return _metric_table("Further metrics", result, names, (), times=False) if names else None


def nec_table(result: ResultFile) -> Table | None:
    """Accuracy at each number of effective concepts; None without a curve."""
    rows = [row for row in result.rows if row.nec_curve]
    targets = sorted({t for row in rows for t in (row.nec_curve.targets if row.nec_curve else ())})
    if not targets:
        return None
    table = [[summarise(at_nec(row, target)) for target in targets] for row in rows]
    cells = marked(table, [_SHARE] * len(targets))
    told = _told(result.rows)
    lines = tuple(
        (Cell(row.name), *line, *([Cell(given(row))] if told else []))
        for row, line in zip(rows, cells, strict=True)
    )
    header = ("method", *(f"NEC {target:g}" for target in targets), *(["given"] * told))
    return Table("Top-1 % at a number of effective concepts (NEC)", header, (Group("", lines),))


def at_nec(row: MethodResult, target: float) -> list[float]:
    """A row's accuracy at one NEC, one value a seed; none where it has no such point."""
    curve = row.nec_curve
    if curve is None or target not in curve.targets:
        return []
    return [seed[curve.targets.index(target)] for seed in curve.accuracies]


def intervention_table(result: ResultFile) -> Table | None:
    """Accuracy after some numbers of interventions, at most six of them; None without any."""
    counts = _spread(sorted({n for curve in result.interventions for n in curve.counts}), 6)
    lines = []
    for curve in result.interventions:
        at = {n: [seed[i] for seed in curve.accuracies] for i, n in enumerate(curve.counts)}
        values = (mean_and_deviation(summarise(at.get(n, ())), _SHARE) for n in counts)
        lines.append((Cell(curve.row), Cell(curve.policy), Cell(curve.values), *map(Cell, values)))
    header = ("method", "policy", "values from", *(f"{n} set" for n in counts))
    return (
        Table("Top-1 % after interventions", header, (Group("", tuple(lines)),)) if lines else None
    )


def released_table(section: Section) -> Table | None:
    """Both protocols side by side on the same data; None unless both were run."""
    official, released = section
    if released is None:
        return None
    others = {row.name: row for row in released.rows}
    lines = []
    for row in official.rows:
        if row.name not in others or "top1" not in row.metrics:
            continue
        ours = summarise(row.metrics["top1"])
        theirs = summarise(others[row.name].metrics.get("top1", ()))
        gain = number(theirs.mean - ours.mean, _SHARE)
        gain = f"+{gain}" if theirs.mean > ours.mean else gain
        cells = (mean_and_deviation(ours, _SHARE), mean_and_deviation(theirs, _SHARE), gain)
        lines.append((Cell(row.name), *map(Cell, cells)))
    return Table(
        "What the released protocol does to top-1 %",
        ("method", "official", "released", "difference, points"),
        (Group("", tuple(lines)),),
        (
            "Under the released protocol all images are pooled and drawn anew for train, "
            "validation and test, so that most test images are train images too.",
        ),
    )


_GROUPS = {True: "Sparse: a class uses few concepts", False: "Dense"}


def _metric_table(
    caption: str, result: ResultFile, names: Sequence[str], notes: tuple[str, ...], *, times: bool
) -> Table:
    columns = [metric(name) for name in names]
    told = _told(result.rows)
    groups = []
    for sparse, title in _GROUPS.items():
        rows = [row for row in result.rows if row.sparse is sparse]
        table = [[summarise(row.metrics.get(name, ())) for name in names] for row in rows]
        cells = marked(table, columns)
        lines = [
            (
                Cell(row.name),
                Cell(row.kind),
                *([Cell(given(row))] if told else []),
                *line,
                *([Cell(mean_and_deviation(summarise(row.seconds), _TIME))] if times else []),
            )
            for row, line in zip(rows, cells, strict=True)
        ]
        if lines:
            groups.append(Group(title, tuple(lines)))
    first = ("method", "kind", *(["given"] * told))
    header = (*first, *(column.label for column in columns), *(["fit, s"] * times))
    return Table(caption, header, tuple(groups), notes)


def given(row: MethodResult) -> str:
    """What a method was given, in words."""
    return ", ".join(row.given) or "nothing"


def _told(rows: Sequence[MethodResult]) -> bool:
    """Whether a file says what its methods were given; older ones do not."""
    return any(row.given for row in rows)


def marked(table: Sequence[Sequence[Summary]], columns: Sequence[MetricFormat]) -> list[list[Cell]]:
    """Cells of a group of rows, the best of each column marked."""
    marks = [
        best([line[j] for line in table], column) if len(table) > 1 else [False] * len(table)
        for j, column in enumerate(columns)
    ]
    return [
        [Cell(mean_and_deviation(x, columns[j]), marks[j][i]) for j, x in enumerate(line)]
        for i, line in enumerate(table)
    ]


def _spread(items: Sequence[int], most: int) -> list[int]:
    """At most `most` of the items, evenly, first and last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
