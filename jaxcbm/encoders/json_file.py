"""The JSON files of a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from jaxcbm.errors import UserError
from jaxcbm.json_text import parse_json
from jaxcbm.ordinary_file import read_ordinary
from jaxcbm.typed_json import Range, value_from_json

# Sizes beyond what any model has: memory would end before a message could be made of them.
Size = Annotated[int, Range(1, 9_999_999)]
Layers = Annotated[int, Range(1, 1000)]
Pixels = Annotated[int, Range(1, 4096)]


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in a file; `what` says what it should describe.

    Raises:
        UserError: damaged, or no object.
    """
    try:
        content = parse_json(read_ordinary(path).decode())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not {what}; download it again")
    return content


def field(content: Mapping[str, Any], name: str, kind: Any, where: str) -> Any:
    """A field of what `read_json` gave, checked; None where it is absent and `kind` allows it.

    Raises:
        UserError: the file, the field, what it is and what it should be.
    """
    return value_from_json(kind, content.get(name), where, name)
