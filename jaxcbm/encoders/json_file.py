"""The JSON files of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in a file; `what` says what it should describe.

    Raises:
        UserError: damaged, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not {what}; download it again")
    return content
