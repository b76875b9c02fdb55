"""metrics.jsonl: one object a line, `{"step", "split", "name", "value"}`."""

import json
from collections.abc import Mapping
from pathlib import Path

from jaxcbm.atomic import write_text


class MetricsLog:
    """Appends to a JSON-lines file; resuming drops what was written past the checkpoint.

    Args:
        path: the file; None keeps nothing.
        resume_step: lines of later steps are removed.
    """

    def __init__(self, path: Path | None, resume_step: int = 0):
        self._path = path
        if path is not None and path.exists():
            kept = [line for line in read_metrics(path) if line["step"] <= resume_step]
            write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Append one line for each value."""
        if self._path is None:
            return
        lines = [
            json.dumps({"step": step, "split": split, "name": name, "value": float(value)}) + "\n"
            for name, value in values.items()
        ]
        with open(self._path, "a", encoding="utf-8") as file:
            file.write("".join(lines))


def read_metrics(path: Path) -> list[dict]:
    """The whole lines of a metrics file; one that a kill cut short is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines
