"""What a long run of the fuzzing found, for docs/results/fuzz.json and docs/fuzzing.md."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from watched import FAILURE, READ, REFUSED, Verdict

from jaxcbm.code_version import this_code

DOCS = Path(__file__).parents[2] / "docs"
_BEGIN, _END = "<!-- table: made by tests/faults -->", "<!-- end of the table -->"


class Tally(NamedTuple):
    """What came of one reader's inputs.

    Attributes:
        reader: its name.
        verdicts: one an input.
        seconds: all of it took, the changing of files included.
    """

    reader: str
    verdicts: tuple[Verdict, ...]
    seconds: float


def record(tallies: Sequence[Tally], readers: Sequence[str], seed: int) -> None:
    """Write the results of one pass over all readers; of a part of them nothing is written.

    Raises:
        ValueError: the pass has left readers out.
    """
    by_name = {tally.reader: tally for tally in tallies}
    if missing := [name for name in readers if name not in by_name]:
        raise ValueError(f"no record: in this process nobody tried {', '.join(missing)}")
    rows = {name: _row(by_name[name]) for name in readers}
    about = {
        "seed": seed,
        "code": str(this_code()),
        "minutes": round(sum(tally.seconds for tally in tallies) / 60, 1),
    }
    lines = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    file = DOCS / "results" / "fuzz.json"
    file.write_text(f'{json.dumps(about)[:-1]}, "readers": {{\n  {lines}\n}}}}\n')
    page = DOCS / "fuzzing.md"
    said = "One pass of {minutes} minutes, from seed {seed}: {code}.\n\n".format(**about)
    page.write_text(with_table(page.read_text(), said + _table(rows)))


def _row(tally: Tally) -> dict[str, float]:
    counts = Counter(verdict.verdict for verdict in tally.verdicts)
    return {
        "inputs": len(tally.verdicts),
        "read": counts[READ],
        "refused": counts[REFUSED],
        "failures": counts[FAILURE],
        "seconds": round(tally.seconds, 1),
        "slowest_seconds": round(max(each.seconds for each in tally.verdicts), 2),
        "most_mebibytes": round(max(each.mebibytes for each in tally.verdicts)),
    }


def with_table(page: str, table: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table}\n{_END}{after}"


def _table(readers: dict[str, dict[str, float]]) -> str:
    lines = [
        "| reader | inputs | read | refused | failures | slowest | most memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in readers.items():
        counts = " | ".join(f"{row[key]:,}" for key in ("inputs", "read", "refused", "failures"))
        most = f"{row['slowest_seconds']} s | {row['most_mebibytes']} MiB"
        lines.append(f"| {name} | {counts} | {most} |")
    total = " | ".join(
        f"{sum(row[key] for row in readers.values()):,}"
        for key in ("inputs", "read", "refused", "failures")
    )
    lines.append(f"| **all** | {total} | | |")
    return "\n".join(lines)
