"""CSV with cells that spreadsheets must not run."""

import csv
import io
import math
from collections.abc import Iterable, Sequence


def as_cell(text: str) -> str:
    """A text as it may stand in a cell: one that begins like a formula gets an apostrophe before.

    >>> as_cell("=1+1"), as_cell("red crown")
    ("'=1+1", 'red crown')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def as_csv(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """Lines as CSV: texts by `as_cell`, numbers to 8 digits, what is none empty.

    >>> print(as_csv(["concept", "weight"], [("=red", 1 / 3), ("tail", float("nan"))]), end="")
    concept,weight
    '=red,0.33333333
    tail,
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def _cell(value: str | float | None) -> str | int | None:
    if isinstance(value, float):
        return f"{value:.8g}" if math.isfinite(value) else ""
    return as_cell(value) if isinstance(value, str) else value
