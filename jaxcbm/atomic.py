"""Write aside, then rename: nothing half-written is ever read as whole."""

import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What is wrong with a place that a user named, rather than with this program.
_THE_PLACE = (
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)


def explained(error: Exception, path: Path | str) -> Exception:
    """What to say of an error of the system at a place that a user named; others as they are."""
    # Libraries tell the system's reason in words of their own.
    full = any(os.strerror(number) in str(error) for number in _FULL)
    if full or getattr(error, "errno", None) in _FULL:
        return UserError(f"no space left while writing {path}: free some and run again")
    if isinstance(error, OSError) and error.errno in _THE_PLACE:
        return UserError(f"cannot write {path}: {error.strerror}")
    return error


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place if the block succeeds.

    It has the extension of `path`, and is an empty file: whatever the block makes of it, the result
    has the permissions that this user's new files have.

    Raises:
        UserError: the disk is full or the place is not writable. Nothing is left behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    path = Path(path)
    # Threads share a process id, and so do hosts whose containers start alike.
    token = f"{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{token}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        usual = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        # safetensors, for one, writes a file of its own that nobody else may read.
        temporary.chmod(usual)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if (told := explained(error, path)) is error:
            raise
        raise told from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it replaces `path` if the block succeeds.

    What is in it then has the permissions that this user's new files have.

    Raises:
        UserError: as for `atomic_file`.
    """
    path = Path(path)
    token = f"{os.getpid()}.{secrets.token_hex(4)}"
    temporary, retired = (path.with_name(f".{path.name}.{token}.{end}") for end in ("tmp", "old"))
    try:
        temporary.mkdir(parents=True)
        usual = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        for inner in temporary.rglob("*"):
            inner.chmod(usual if inner.is_dir() else usual & 0o666)
        if path.is_dir():
            os.replace(path, retired)
            os.replace(temporary, path)
            shutil.rmtree(retired)
        else:
            os.replace(temporary, path)
    except Exception as error:
        if (told := explained(error, path)) is error:
            raise
        raise told from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write a text as UTF-8, its line ends as they are, atomically; half a character as an escape.

    Raises:
        UserError: as for `atomic_file`.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path | str, value: Any) -> None:
    """Write an object as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")
