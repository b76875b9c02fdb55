"""Which feature stores are in use: locks that end with whoever holds them, however that ends.

A reader shares the lock on a store's manifest.json for as long as its rows are referred to; who
wants to remove the store needs the lock alone. Where a system or a file system has no such locks
nothing can be known, and nothing is removed.
"""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MANIFEST_FILE = "manifest.json"


class Hold:
    """The share of one reader, given back when nothing refers to it any more."""

    def __init__(self, descriptor: int):
        weakref.finalize(self, os.close, descriptor)


def hold_store(folder: Path) -> Hold | None:
    """Keep a store from being removed, and note that it was used now.

    Returns:
        None where there is no such lock, or no such store any more.
    """
    file = folder / MANIFEST_FILE
    while (descriptor := _locked(file, shared=True)) is not None:
        if _is_still(file, descriptor):
            with suppress(OSError):  # a store that only others may write
                os.utime(file)
            return Hold(descriptor)
        os.close(descriptor)  # removed while we waited, and perhaps made anew
    return None


@contextmanager
def alone_with_store(folder: Path) -> Iterator[bool]:
    """Whether nobody uses a store, which stays so in the block."""
    descriptor = _locked(folder / MANIFEST_FILE, shared=False)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(file: Path, *, shared: bool) -> int | None:
    try:
        import fcntl

        # Over NFS a lock that nobody may share needs a file that is open for writing.
        descriptor = os.open(file, os.O_RDONLY if shared else os.O_RDWR)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(descriptor))
    except FileNotFoundError:
        return False
