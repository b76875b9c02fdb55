"""The content of every image as a hash: what an embedding is known by.

Several processes share the reading. Each hashes every P-th image and leaves its hashes beside the
feature stores for the others.
"""

import io
import secrets
from typing import Any

import numpy as np

from jaxcbm.data.image_source import ImageSource, UnreadableImage
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.progress import ProgressLine
from jaxcbm.data.store.shards import sweep_abandoned
from jaxcbm.distributed import processes
from jaxcbm.errors import UserError
from jaxcbm.storage import read_whole, write_whole

_CHUNK = 64
_NO_DIGEST = bytes(32)


def digest_all(
    source: ImageSource, threads: int, quiet: bool, images: range | None = None
) -> tuple[np.ndarray, dict[int, str]]:
    """Hash images.

    Args:
        source: N images.
        threads: that read.
        quiet: says nothing of how far it is.
        images: which of them; None for all.

    Returns:
        Digests uint8 [n, 32], zeros for images that cannot be read, and the reasons of those by
        their position among the N.
    """
    images = range(len(source)) if images is None else images
    lost: dict[int, str] = {}

    def digest_chunk(start: int) -> bytes:
        digests = []
        for index in images[start : start + _CHUNK]:
            try:
                digests.append(source.digest(index))
            except UnreadableImage as error:
                lost[index] = str(error)
                digests.append(_NO_DIGEST)
        return b"".join(digests)

    report = None if quiet else ProgressLine("read", "images", patience=2.0)
    chunks = []
    starts = range(0, len(images), _CHUNK)
    for chunk in map_ahead(digest_chunk, starts, threads=threads, window=4 * threads):
        chunks.append(chunk)
        if report is not None:
            report(min(len(chunks) * _CHUNK, len(images)), len(images))
    return np.frombuffer(b"".join(chunks), np.uint8).reshape(len(images), 32), lost


def digest_together(
    source: ImageSource, threads: int, quiet: bool, root: Any
) -> tuple[np.ndarray, dict[int, str]]:
    """As `digest_all`, the work shared by all processes of the run.

    Args:
        source: N images, the same on all.
        threads: that read.
        quiet: says nothing of how far it is.
        root: a folder that all processes see.

    Raises:
        UserError: the processes see other images, or `root` is not one folder to them.
    """
    count = processes.process_count()
    if count == 1:
        return digest_all(source, threads, quiet)
    processes.agree("their images", "\n".join(map(source.name, range(len(source)))))
    token = processes.exchange("digests", secrets.token_hex(8))[0]
    # Named so that what a run that was killed leaves here is swept up some time.
    files = [root / f".digests-{token}-{process:05d}.tmp" for process in range(count)]
    mine = range(processes.process_index(), len(source), count)
    own = digest_all(source, threads, quiet or not processes.is_main(), mine)
    write_whole(files[processes.process_index()], _pack(*own))
    processes.barrier("digests written")
    digests_Nx32 = np.empty((len(source), 32), np.uint8)
    lost: dict[int, str] = {}
    for process, file in enumerate(files):
        try:
            digests_Nx32[process::count], reasons = _unpack(read_whole(file))
        except OSError as error:
            raise UserError(
                f"process {processes.process_index()} does not see in {root} what process "
                f"{process} wrote there: the processes of a run need one folder that all share"
            ) from error
        lost |= reasons
    processes.barrier("digests read")
    if processes.is_main():
        for file in files:
            file.unlink(missing_ok=True)
        sweep_abandoned(root)
    return digests_Nx32, dict(sorted(lost.items()))


def _pack(digests_nx32: np.ndarray, lost: dict[int, str]) -> bytes:
    buffer = io.BytesIO()
    where, why = np.array(list(lost), np.int64), np.array(list(lost.values()), np.str_)
    np.savez(buffer, digests=digests_nx32, where=where, why=why)
    return buffer.getvalue()


def _unpack(content: bytes) -> tuple[np.ndarray, dict[int, str]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        lost = dict(zip(found["where"].tolist(), found["why"].tolist(), strict=True))
        return found["digests"], lost
