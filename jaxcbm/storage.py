"""Places that may be remote, such as gs://bucket/folder, beside folders of this machine.

A remote place is an object store: one object appears whole or not at all, there are no folders to
be made, and nothing can be renamed or mapped into memory. What is read from it is copied here once.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

from jaxcbm.atomic import atomic_file
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.ordinary_file import read_ordinary

CACHE_VARIABLE = "JAXCBM_CACHE"


def as_path(place: str | os.PathLike) -> Any:
    """A `pathlib.Path`, or for gs:// and its like an `etils.epath.Path`, which has its methods.

    Args:
        place: a folder or file.

    Raises:
        UserError: a kind of remote place that is not known.

    >>> as_path("runs/features").name
    'features'
    """
    text = os.fspath(place)
    if "://" not in text:
        return Path(text)
    epath = import_extra("etils.epath", "jaxcbm[gcs]", text)
    try:
        return epath.Path(text)
    except KeyError as error:
        raise UserError(f"{text}: unknown kind of place; gs:// is known") from error


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path lies in an object store.

    >>> is_remote(Path("runs"))
    False
    """
    return "://" in os.fspath(path)


def write_whole(path: Any, content: bytes) -> None:
    """Write a file or an object so that nobody ever sees a part of it.

    Raises:
        UserError: the disk is full, the place is not writable, or a package for it is missing.
    """
    if not is_remote(path):
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
        return
    try:
        path.write_bytes(content)  # an object appears when it is closed, and not before
    except (ImportError, OSError) as error:
        raise _explain(path, error) from error


def read_whole(path: Any) -> bytes:
    """The content of a file or an object.

    Raises:
        OSError: there is none, or it cannot be read.
        UserError: a package for this kind of place is missing.
    """
    if not is_remote(path):
        return read_ordinary(path)
    try:
        return path.read_bytes()
    except ImportError as error:
        raise _explain(path, error) from error


def local_copy(path: Any, size: int, sha256: str) -> Path:
    """A file of this machine with the content of `path`: itself, or for an object a copy made once.

    The copy lies in `objects` of `cache_folder()`, with the hash of its content in its name. Such
    copies may be deleted between runs.

    Raises:
        OSError: there is no such file or object.
    """
    if not is_remote(path):
        return Path(path)
    place = hashlib.sha256(os.fspath(path).encode()).hexdigest()
    copy = cache_folder() / "objects" / f"{place}-{sha256[:16]}"
    if not copy.exists() or copy.stat().st_size != size:
        write_whole(copy, read_whole(path))
    return copy


def cache_folder() -> Path:
    """Where this user keeps what all runs share: `JAXCBM_CACHE`, or the usual place for caches."""
    if told := os.environ.get(CACHE_VARIABLE):
        return Path(told).expanduser()
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "jaxcbm"


def _explain(path: Any, error: Exception) -> UserError:
    if isinstance(error, ImportError):
        return UserError(f"{path} needs another package ({error}): pip install 'jaxcbm[gcs]'")
    return UserError(f"cannot write {path}: {error}")
