"""One shard of a feature store: an array file, and a small record that says it is whole.

The array stands in a file named after its own checksum; the record is written after it and names
it. So a shard either is there whole or is not there, also when two processes write the same shard
at once on machines whose arithmetic differs in the last bit: whichever record stays names a file
that exists and matches it.

On a disk a file appears by a rename, in an object store by the end of its upload; both are atomic,
and the two are never needed to be so together.
"""

import hashlib
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcbm.data.store.row_file import RowFile
from jaxcbm.storage import is_remote, local_copy, read_whole, write_whole

# A temporary file this old belongs to no living writer: a shard takes seconds to write.
_ABANDONED_SECONDS = 3600.0


@dataclass(frozen=True, eq=False)
class Shard:
    """Embeddings of the readable images among a run of consecutive images.

    Attributes:
        rows: [n, E], on disk.
        skipped: offset within the run and reason, for each image that could not be read.
    """

    rows: RowFile
    skipped: tuple[tuple[int, str], ...]


def write_shard(
    folder: Path, number: int, rows: np.ndarray, skipped: tuple[tuple[int, str], ...]
) -> None:
    """Write one shard: the array first, then the record that makes it count.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    content = _npy(rows)
    digest = hashlib.sha256(content).hexdigest()
    name = f"shard-{number:05d}-{digest[:16]}.npy"
    write_whole(folder / name, content)
    record = {"file": name, "bytes": len(content), "sha256": digest, "skipped": skipped}
    write_whole(_record_path(folder, number), (json.dumps(record) + "\n").encode())


def read_shard(
    folder: Path, number: int, images: int, width: int, dtype: np.dtype, *, verify: bool = True
) -> Shard | None:
    """Open one shard, if it is there and every byte is what was written.

    Args:
        folder: the store.
        number: which shard.
        images: how many images it covers.
        width: E.
        dtype: what the rows were written as.
        verify: False reads its size and shape alone, where another process of this run has just
            read every byte. A copy of a remote object is this machine's own and is read all the
            same.

    Returns:
        The shard, or None where it is missing, cut off, changed or of another shape.
    """
    try:
        record = json.loads(read_whole(_record_path(folder, number)))
        path = folder / record["file"]
        if path.parent != folder:
            return None
        path = local_copy(path, record["bytes"], record["sha256"])
        if path.stat().st_size != record["bytes"]:
            return None
        if (verify or is_remote(folder)) and _digest(path) != record["sha256"]:
            return None
        rows = RowFile.open(path)
        skipped = tuple((int(offset), str(reason)) for offset, reason in record["skipped"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if rows.dtype != _stored(dtype) or rows.shape != (images - len(skipped), width):
        return None
    return Shard(rows.view(dtype), skipped)


def sweep_abandoned(folder: Path) -> None:
    """Remove what writers that died left half-written; those at work are left alone.

    An object store keeps nothing of an upload that was not finished.
    """
    if is_remote(folder):
        return
    for path in folder.glob(".*.tmp*"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
        except OSError:  # another process was quicker, or the store is read-only
            continue


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.json"


def _stored(dtype: np.dtype) -> np.dtype:
    """The .npy format has no name for bfloat16: its bits are stored as integers."""
    return np.dtype(np.uint16) if dtype.name == "bfloat16" else dtype


def _npy(rows: np.ndarray) -> bytes:
    # In memory first: NumPy's own writing to a file forgets why the system refused.
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(rows).view(_stored(rows.dtype)), allow_pickle=False)
    return buffer.getvalue()
