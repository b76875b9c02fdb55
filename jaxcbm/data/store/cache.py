"""The feature stores that all runs of a user share: where they lie, what there is, what goes."""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcbm.data.store.in_use import MANIFEST_FILE, alone_with_store
from jaxcbm.distributed.processes import process_count
from jaxcbm.errors import UserError
from jaxcbm.storage import CACHE_VARIABLE, cache_folder

_REMOVED = ".removed"


class Stored(NamedTuple):
    """A store of the cache.

    Attributes:
        folder: its name is the key.
        encoder: name of what embedded the images.
        images: how many.
        bytes: on the disk.
        used: when a run last opened it, seconds since 1970.
    """

    folder: Path
    encoder: str
    images: int
    bytes: int
    used: float


def features_folder(workdir: Path | str | None) -> Path:
    """Where a run whose settings name no folder keeps its feature stores.

    One cache serves all runs: `JAXCBM_CACHE/features`, else `$XDG_CACHE_HOME/jaxcbm/features` or
    `~/.cache/jaxcbm/features`. The work directory has its own where it has one already, where
    `JAXCBM_CACHE` is empty, and in a run of several processes that was told of no cache: their
    work directory is the one folder that they share for certain.

    Args:
        workdir: of the run; None for one without.

    Raises:
        UserError: `JAXCBM_CACHE` is no folder of a file system, or there is neither a cache nor a
            work directory.
    """
    told = os.environ.get(CACHE_VARIABLE)
    own = None if workdir is None else Path(workdir) / "features"
    if told and "://" in told:
        raise UserError(f"{told}: the cache is a folder here; name others by --config.features")
    alone = told == "" or (told is None and process_count() > 1)
    if alone and own is None:
        raise UserError("no folder for encoded images: name one by --config.features or --cache")
    return own if own and (alone or own.is_dir()) else shared_features()


def shared_features() -> Path:
    """The folder of the stores that all runs share."""
    return cache_folder() / "features"


def stores_in(root: Path) -> list[Stored]:
    """The stores of a folder, the one that was used last before the others."""
    folders = [each for each in _entries(root) if re.fullmatch("[0-9a-f]{64}", each.name)]
    return sorted(map(_describe, folders), key=lambda store: -store.used)


def prune(
    root: Path, *, older_than: float | None = None, keep_bytes: int | None = None
) -> tuple[list[Stored], list[Stored]]:
    """Remove stores that nobody uses.

    Each disappears at once, by its name, before its files are deleted: no run ever finds a part.

    Args:
        root: folder of stores; what else lies there stays.
        older_than: seconds; those unused for longer go.
        keep_bytes: those unused for longest go, until the rest takes no more.

    Returns:
        What was removed, and what should have been and is in use.
    """
    for left in _entries(root):
        if left.name.endswith(_REMOVED):  # of a removal that was killed
            shutil.rmtree(left, ignore_errors=True)
    removed: list[Stored] = []
    used: list[Stored] = []
    for store in _unwanted(stores_in(root), older_than, keep_bytes):
        (removed if _remove(store.folder) else used).append(store)
    return removed, used


def _unwanted(
    stores: Sequence[Stored], older_than: float | None, keep_bytes: int | None
) -> list[Stored]:
    found, now = [], time.time()
    total = sum(store.bytes for store in stores)
    for store in reversed(stores):
        old = older_than is not None and now - store.used > older_than
        if old or (keep_bytes is not None and total > keep_bytes):
            found.append(store)
            total -= store.bytes
    return found


def _remove(folder: Path) -> bool:
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{_REMOVED}")
    with alone_with_store(folder) as alone:
        if alone:
            os.rename(folder, aside)
    if alone:
        shutil.rmtree(aside, ignore_errors=True)
    return alone


def _describe(folder: Path) -> Stored:
    told: dict[str, Any] = {}
    try:
        read = json.loads((folder / MANIFEST_FILE).read_bytes())
        told = read if isinstance(read, dict) else {}
    except (OSError, ValueError, RecursionError):
        pass  # listed by its key
    images = told.get("images")
    return Stored(
        folder=folder,
        encoder=str(told.get("encoder", "")),
        images=images if isinstance(images, int) else 0,
        bytes=sum(map(_size, _entries(folder))),
        used=_time(folder / MANIFEST_FILE) or _time(folder),
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # a run writes there, or somebody prunes
        return 0


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
