"""What a long run of the programme found, for docs/results/faults.json and docs/faults.md."""

import json
import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcbm.code_version import this_code

DOCS = Path(__file__).parents[2] / "docs"
_ORDER = ("kills", "damages")
_TEXT = """# Faults

Written by `tests/faults`; do not edit. Everything here comes from one seed and can be had again:

    JAXCBM_FAULTS=100 JAXCBM_FAULTS_RECORD=1 python -m pytest -m slow tests/faults/test_kills.py
    JAXCBM_FAULTS=500 JAXCBM_FAULTS_RECORD=1 python -m pytest -m slow tests/faults/test_damages.py

**Identical** means that every file which the command leaves (all but times) has the bytes of a
run that nothing happened to; **refused** means exit code 2 and one line that says what to do.
Anything else, a traceback or another number, is a failure, and the test fails.

"""
_SAID = {
    "kills": """## Kills

{count} signals in {minutes:.0f} minutes (seed {seed}; {machine}). A command gets SIGKILL, SIGTERM
or SIGINT at one of its touches of a file, drawn at random, or a little later; or the system ends it
in the middle of a write (SIGXFSZ, a limit on the size of files). It is then started again, three
times in ten under the next blow, until it comes to its end.

""",
    "damages": """## Damages

{count} files in {minutes:.0f} minutes (seed {seed}; {machine}). A file that the program wrote is
cut, emptied, made longer, overwritten, removed, loses or changes bits or a value, or a folder, an
endless device or another run's file takes its place. Then the command runs that reads it.

""",
}


def record(kind: str, seed: int, rows: Sequence[dict[str, Any]], seconds: float) -> None:
    """Write what was found, where the environment asks for it, beside the other kind."""
    if "JAXCBM_FAULTS_RECORD" not in os.environ:
        return
    file = DOCS / "results" / "faults.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    machine = f"{os.cpu_count()} cores, {platform.machine()}; {this_code()}"
    found[kind] = {"seed": seed, "seconds": round(seconds), "machine": machine, "rows": rows}
    lines = [json.dumps(name) + ": " + _compact(found[name]) for name in _ORDER if name in found]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sections = [_section(name, found[name]) for name in _ORDER if name in found]
    (DOCS / "faults.md").write_text(_TEXT + "\n".join(sections))


def _compact(found: dict[str, Any]) -> str:
    """One line a row."""
    about = json.dumps({name: value for name, value in found.items() if name != "rows"})
    rows = ",\n  ".join(map(json.dumps, found["rows"]))
    return f'{about[:-1]}, "rows": [\n  {rows}]}}'


def _section(kind: str, found: dict[str, Any]) -> str:
    rows = found["rows"]
    about = {"count": len(rows), "minutes": found["seconds"] / 60, **found}
    columns = ("command", "blow") if kind == "kills" else ("file", "damage")
    tables = [_table(columns[0], rows), _table(columns[1], rows)]
    return _SAID[kind].format(**about) + "\n".join(tables)


def _table(column: str, rows: Sequence[dict[str, Any]]) -> str:
    verdicts = ("identical", "refused in one line")
    counts = Counter((row[column].split(" at ")[0], row["verdict"]) for row in rows)
    names = sorted({name for name, _ in counts})
    failures = {name: sum(n for (k, v), n in counts.items() if k == name) for name in names}
    lines = [f"| {column} | {' | '.join(verdicts)} | failures |", "| --- | ---: | ---: | ---: |"]
    for name in names:
        good = [counts[name, verdict] for verdict in verdicts]
        lines.append(f"| {name} | {good[0]} | {good[1]} | {failures[name] - sum(good)} |")
    return "\n".join(lines).replace("/*", "/\\*") + "\n"
