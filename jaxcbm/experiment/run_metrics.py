"""What `jaxcbm evaluate` wrote of a finished run: metrics.json, read with care."""

import json
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError
from jaxcbm.lines import first_line

_PARTS = ("test", "validation", "data", "encoder", "concepts", "hardware")


def read_run_metrics(workdir: Path) -> dict[str, Any]:
    """The content of metrics.json, as `evaluate_model` returns it.

    Raises:
        UserError: no finished run there, or its file is damaged.
    """
    file = workdir / "metrics.json"
    if not file.is_file():
        raise UserError(
            f"{workdir}: no metrics.json; `jaxcbm evaluate --workdir={workdir}` writes it"
        )
    try:
        found = json.loads(file.read_bytes())
        missing = [part for part in _PARTS if not isinstance(found[part], dict)]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: damaged ({first_line(error)}); `jaxcbm evaluate --workdir={workdir}` writes "
            "it again"
        ) from error
    if missing:
        raise UserError(f"{file}: {missing[0]} is no object; `jaxcbm evaluate` writes it again")
    return found
