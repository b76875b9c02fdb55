"""Files that are read as a whole: ordinary ones, and nothing that would never end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_ordinary(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file of bytes; a pipe is not waited for, and an endless device is not read.

    Raises:
        OSError: no such file, not readable, or not an ordinary file.

    >>> open_ordinary("/dev/null")
    Traceback (most recent call last):
    ...
    OSError: [Errno 22] not an ordinary file: '/dev/null'
    """
    # A pipe would otherwise wait for somebody to write into it.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "not an ordinary file", os.fspath(path))
    return os.fdopen(number, "rb")


def read_ordinary(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises:
        OSError: as for `open_ordinary`.
    """
    with open_ordinary(path) as file:
        return file.read()


def is_ordinary(path: Path) -> bool:
    """Whether there is a file of that name; none where no file can have it.

    >>> is_ordinary(Path("x" * 10_000)), is_ordinary(Path("a\\0"))
    (False, False)
    """
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long
        return False


def first_strange(folder: Path) -> Path | None:
    """Something in a folder that is neither a folder nor an ordinary file; None where all are."""
    inside = folder.rglob("*")
    return next((path for path in inside if not (path.is_file() or path.is_dir())), None)
