"""JSON that knows its own hash, so that one flipped bit is told from what was written.

It is no signature: who can write the file can write its hash.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcbm.atomic import write_json
from jaxcbm.json_text import parse_json
from jaxcbm.ordinary_file import read_ordinary

SEAL = "sha256"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """An object with its hash as its last field.

    >>> unsealed(sealed({"a": 1}))
    {'a': 1}
    """
    plain = json.loads(json.dumps(content))
    return {**plain, SEAL: hash_of(plain)}


def unsealed(content: Any) -> dict[str, Any]:
    """The object that `sealed` was given; one without a hash, of people's own making, as it is.

    Raises:
        ValueError: no object, or not the one that was sealed.
    """
    if not isinstance(content, dict):
        raise ValueError("not an object")
    plain = {name: value for name, value in content.items() if name != SEAL}
    if SEAL in content and content[SEAL] != hash_of(plain):
        raise ValueError("not what was written")
    return plain


def write_sealed(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write an object with its hash, atomically.

    Raises:
        UserError: as for `jaxcbm.atomic.atomic_file`.
    """
    write_json(path, sealed(content))


def read_sealed(path: Path, *, always: bool = False) -> dict[str, Any]:
    """Read what `write_sealed` wrote.

    Args:
        path: the file.
        always: refuse an object without a hash, too: where people write none.

    Raises:
        OSError: no such file, or it cannot be read.
        ValueError: it is damaged.
    """
    try:
        content = parse_json(read_ordinary(path))
        if always and SEAL not in content:
            raise ValueError("without its hash")
        return unsealed(content)
    # The kind can be wrong as well as the grammar.
    except TypeError as error:
        raise ValueError(type(error).__name__) from error


def hash_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of an object, in hex, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
