"""What `jaxcbm evaluate` wrote of a finished run: metrics.json, which knows its model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from jaxcbm.errors import UserError
from jaxcbm.lines import first_line
from jaxcbm.sealed_json import hash_of, read_sealed, write_sealed

_PARTS = ("test", "validation", "data", "encoder", "concepts", "hardware")
_MODEL = "model"


def write_run_metrics(workdir: Path, metrics: Mapping[str, Any]) -> None:
    """Write what `evaluate_model` returns of the model in a work directory."""
    write_sealed(workdir / "metrics.json", {**metrics, _MODEL: _model_hash(workdir)})


def read_run_metrics(workdir: Path) -> dict[str, Any]:
    """The content of metrics.json, as `evaluate_model` returns it.

    Raises:
        UserError: no finished run there, or its file is damaged or of another model.
    """
    file = workdir / "metrics.json"
    again = f"`jaxcbm evaluate --workdir={workdir}` writes it"
    if not file.is_file():
        raise UserError(f"{workdir}: no metrics.json; {again}")
    try:
        found = read_sealed(file)
        missing = [part for part in _PARTS if not isinstance(found[part], dict)]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file}: damaged ({first_line(error)}); {again} again") from error
    if missing:
        raise UserError(f"{file}: {missing[0]} is no object; {again} again")
    now = _model_hash(workdir)
    if found.pop(_MODEL, now) != now:
        raise UserError(f"{file}: of another model than the one beside it; {again} again")
    return found


def evaluated_already(workdir: Path) -> dict[str, Any] | None:
    """`read_run_metrics`; None where there are none yet, or none that are whole, which is said."""
    if not (workdir / "metrics.json").exists():
        return None
    try:
        return read_run_metrics(workdir)
    except UserError as error:
        logging.warning("%s: now it is evaluated again", error)
        return None


def _model_hash(workdir: Path) -> str:
    """Of the model's header, which has the hashes of its files."""
    try:
        return hash_of(read_sealed(workdir / "model" / "model.json"))
    except (OSError, ValueError):
        return ""
