"""Result files: what one program run measured on one dataset, as JSON that reports are made of.

A file is one object with the fields of `result_schema.ResultFile`; nested objects have the fields
of that module's other dataclasses, and their `tuple` is a JSON list. Shares (accuracy, confidence,
...) are 0 to 1. A number that does not exist is null. A short one:

    {"format": "jaxcbm-results", "version": 1, "dataset": "birds", "protocol": "official",
     "encoder": "jaxcbm/tiny", "encoder_hash": "210f...",
     "concepts": {"name": "birds", "count": 57, "hash": "54d5..."},
     "images": {"train": 2448, "valid": 432, "test": 1440},
     "hardware": "2 cores, x86_64", "seconds": 512.0, "seeds": [0, 1],
     "rows": [{"name": "Sparse-CBM", "kind": "ours", "sparse": true,
               "metrics": {"top1": [0.81, 0.80], "nec": [5.0, 5.0]},
               "nec_curve": {"targets": [5, 10], "accuracies": [[0.79, 0.81], [0.78, 0.80]]},
               "seconds": [12.0, 11.5]}]}
"""

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.schema import FORMAT, VERSION, PerSeed, ResultFile
from jaxcbm.json_text import parse_json
from jaxcbm.ordinary_file import read_ordinary
from jaxcbm.sealed_json import SEAL, unsealed, write_sealed
from jaxcbm.typed_json import from_json, to_json


def write_result(path: Path | str, result: ResultFile) -> None:
    """Check a result and write it, atomically: readers see the old file or the whole new one.

    Raises:
        UserError: parts of it do not fit together, or the place is not writable.
    """
    _check(result, str(path))
    write_sealed(path, to_json(result))


def read_result(path: Path | str) -> ResultFile:
    """Read and check a result file.

    Raises:
        UserError: no such file, not whole, of another format, or parts of it do not fit together.
    """
    try:
        value = parse_json(read_ordinary(path).decode())
    except OSError as error:
        raise UserError(f"{path}: cannot read it ({error.strerror})") from error
    except ValueError as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}: not whole JSON{where}; write the result file again") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UserError(f'{path}: not a result file (it lacks "format": "{FORMAT}")')
    if value.get("version") != VERSION:
        raise UserError(
            f"{path}: version {value.get('version')!r} of the format, but this jaxcbm reads "
            f"{VERSION}; write the result file again"
        )
    plain = {name: each for name, each in value.items() if name != SEAL}
    result = from_json(ResultFile, plain, str(path), null_is_nan=True)
    _check(result, str(path))
    try:
        unsealed(value)
    except ValueError as error:
        raise UserError(
            f'{path}: changed since it was written; take "{SEAL}" out of it if that is meant'
        ) from error
    return result


def _check(result: ResultFile, file: str) -> None:
    """What types cannot say: lengths that belong together, and names that must exist."""
    seeds = len(result.seeds)
    if not seeds or not result.rows:
        raise UserError(f"{file}: {'rows' if seeds else 'seeds'} must not be empty")
    names = [row.name for row in result.rows]
    for i, row in enumerate(result.rows):
        if row.name in names[:i]:
            raise UserError(f"{file}: rows[{i}].name {row.name!r} occurs twice; name it otherwise")
        for metric, values in row.metrics.items():
            _check_seeds(values, seeds, f"{file}: rows[{i}].metrics[{metric!r}]")
        if row.seconds:
            _check_seeds(row.seconds, seeds, f"{file}: rows[{i}].seconds")
        if row.nec_curve:
            place = f"{file}: rows[{i}].nec_curve.accuracies"
            _check_curve(row.nec_curve.accuracies, row.nec_curve.targets, seeds, place)
    for i, curve in enumerate(result.interventions):
        place = f"{file}: interventions[{i}].accuracies"
        _check_curve(curve.accuracies, curve.counts, seeds, place)
    for i, bins in enumerate(result.reliability):
        if not len(bins.confidences) == len(bins.accuracies) == len(bins.counts):
            raise UserError(f"{file}: reliability[{i}] has lists of different lengths")
    _check_references(result, names, file)
    for i, image in enumerate(result.explanations.images if result.explanations else ()):
        if not _is_png(image.picture):
            raise UserError(f"{file}: explanations.images[{i}].picture is not a PNG in base64")


def _check_references(result: ResultFile, names: Sequence[str], file: str) -> None:
    parts: list[tuple[str, Any]] = [
        ("class_weights", result.class_weights),
        ("explanations", result.explanations),
        *((f"reliability[{i}]", part) for i, part in enumerate(result.reliability)),
        *((f"interventions[{i}]", part) for i, part in enumerate(result.interventions)),
    ]
    for place, part in parts:
        if part is not None and part.row not in names:
            raise UserError(f"{file}: {place}.row {part.row!r} is not the name of a row")


def _check_seeds(values: Sequence[Any], seeds: int, place: str) -> None:
    if len(values) not in (1, seeds):
        raise UserError(f"{place} has {len(values)} values for {seeds} seeds (or give one)")


def _check_curve(curves: PerSeed, points: Sequence[float], seeds: int, place: str) -> None:
    _check_seeds(curves, seeds, place)
    for i, curve in enumerate(curves):
        if len(curve) != len(points):
            raise UserError(f"{place}[{i}] has {len(curve)} values for {len(points)} points")


def _is_png(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    except (binascii.Error, ValueError):
        return False
