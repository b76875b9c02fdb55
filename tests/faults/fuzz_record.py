"""What a long run of the fuzzing found, for docs/results/fuzz.json and docs/fuzzing.md."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from watched import FAILURE, READ, REFUSED, Verdict

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


def record(tally: Tally, seed: int) -> None:
    """Add a reader to the results, where the environment asks for it."""
    if "JAXCBM_FAULTS_RECORD" not in os.environ:
        return
    file = DOCS / "results" / "fuzz.json"
    found = json.loads(file.read_text()) if file.exists() else {"readers": {}}
    counts = Counter(verdict.verdict for verdict in tally.verdicts)
    found["seed"] = seed
    found["readers"][tally.reader] = {
        "inputs": len(tally.verdicts),
        "read": counts[READ],
        "refused": counts[REFUSED],
        "failures": counts[FAILURE],
        "seconds": round(tally.seconds, 1),
        "slowest_seconds": round(max(each.seconds for each in tally.verdicts), 2),
        "most_mebibytes": round(max(each.mebibytes for each in tally.verdicts)),
    }
    rows = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found["readers"].items())
    file.write_text(f'{{"seed": {seed}, "readers": {{\n  {rows}\n}}}}\n')
    page = DOCS / "fuzzing.md"
    page.write_text(with_table(page.read_text(), found["readers"]))


def with_table(page: str, readers: dict[str, dict[str, float]]) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{_table(readers)}\n{_END}{after}"


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
