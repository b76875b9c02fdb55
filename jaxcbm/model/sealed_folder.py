"""A folder whose header knows the size and the hash of every file beside it, and of itself.

What a kill, a copy or a disk has damaged is then refused by its name instead of being read as
something else. It is no signature: who can write the header can write its hashes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError
from jaxcbm.json_text import parse_json
from jaxcbm.ordinary_file import open_ordinary, read_ordinary
from jaxcbm.sealed_json import SEAL, sealed, unsealed

_HASH, _FILES = SEAL, "files"


def write_header(file: Path, content: Mapping[str, Any]) -> None:
    """Write the header of a folder, as JSON, after all of its other files.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "data.bin").write_bytes(b"whole")
    ...     write_header(Path(folder, "header.json"), {"format": 2})
    ...     read_header(Path(folder, "header.json"))["format"]
    2
    """
    files = {
        path.name: {"bytes": path.stat().st_size, _HASH: _hash_of(path)}
        for path in sorted(file.parent.iterdir())
        if path.is_file() and path != file
    }
    text = json.dumps(sealed({**content, _FILES: files}), indent=2)
    file.write_text(text + "\n", encoding="utf-8")


def read_header(file: Path) -> dict[str, Any]:
    """The content that `write_header` was given, once every file is as it was written.

    `files` in it names them. Files that were added since are not looked at.

    Raises:
        UserError: the header or a file that it names is missing, damaged or was changed.
    """
    try:
        content = parse_json(read_ordinary(file))
        if isinstance(content, dict) and _HASH not in content:
            raise UserError(f"{file}: written by another version of jaxcbm; train it again")
        header = unsealed(content)
        files = header[_FILES].items()
        told = [(Path(name).name, each["bytes"], each[_HASH]) for name, each in files]
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    # Kinds and names can be wrong as well as the grammar.
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(file) from error
    for name, size, digest in told:
        path = file.parent / name
        if not path.is_file():
            raise UserError(f"{path}: missing; copy the whole folder, or train again")
        try:
            if path.stat().st_size != size or _hash_of(path) != digest:
                raise damaged(path)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
    return header


def damaged(file: Path) -> UserError:
    """What to say of a file that is not as it was written."""
    return UserError(f"{file}: damaged or changed since it was saved; restore it, or train again")


def _hash_of(path: Path) -> str:
    with open_ordinary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
