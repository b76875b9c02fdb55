"""metrics.jsonl: one object a line, `{"step", "epoch", "split", "name", "value"}`.

What a clock says stands in timing.jsonl, in the same form: a run that was stopped and resumed has
the same metrics.jsonl as one that was not, to the last bit.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from jaxcbm.atomic import write_text
from jaxcbm.errors import UserError
from jaxcbm.ordinary_file import read_ordinary
from jaxcbm.training.trackers import Track


class MetricsLog:
    """Appends to a JSON-lines file; resuming drops what was written past the checkpoint.

    Args:
        path: the file; None keeps nothing.
        resume_step: lines of later steps are removed.
        written: what `hash` said at that step; None does not compare.
        track: where the values go besides.

    Attributes:
        hash: SHA-256 of the lines so far.

    Raises:
        UserError: the lines up to the step are not those that were written.
    """

    def __init__(
        self,
        path: Path | None,
        resume_step: int = 0,
        written: str | None = None,
        track: Track | None = None,
    ):
        self._path, self._hash, self._track = path, hashlib.sha256(), track
        if path is None or not path.exists():
            return
        kept = "".join(
            json.dumps(line) + "\n" for line in read_metrics(path) if line["step"] <= resume_step
        )
        self._hash.update(kept.encode())
        if written is not None and self.hash != written:
            raise UserError(f"{path}: damaged; restore it, or delete it to go on without its lines")
        write_text(path, kept)

    @property
    def hash(self) -> str:
        return self._hash.hexdigest()

    def write(self, step: int, epoch: int, split: str, values: Mapping[str, float]) -> None:
        """Append one line for each value.

        Args:
            step: optimizer steps done.
            epoch: epochs done.
            split: of what.
            values: by name.
        """
        if self._path is None:
            return
        head = {"step": step, "epoch": epoch, "split": split}
        lines = "".join(
            json.dumps({**head, "name": name, "value": float(value)}) + "\n"
            for name, value in values.items()
        )
        self._hash.update(lines.encode())
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(lines)
        if self._track is not None:
            self._track(step, split, values)


def read_metrics(path: Path | str) -> list[dict]:
    """The whole lines of a metrics file; one that a kill cut short is left out.

    Raises:
        UserError: it cannot be read.
    """
    try:
        text = read_ordinary(Path(path)).decode(errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    lines = []
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("step"), int):
            lines.append(found)
    return lines
