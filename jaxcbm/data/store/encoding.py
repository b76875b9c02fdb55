"""From image files to the shards of one store: decode ahead, embed, write."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jaxcbm.data.decoding import try_decode
from jaxcbm.data.image_source import ImageSource, UnreadableImage
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.store.shards import Shard, read_shard, write_shard
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class EncodingJob:
    """One set of images on its way through one encoder into one folder.

    Attributes:
        source: N images.
        encoder: a `DualEncoder`.
        digests: uint8 [N, 32], content of the images; zeros for those in `lost`.
        lost: the images whose bytes cannot even be read, and why.
        folder: where the shards lie; a path, here or remote.
        dtype: how embeddings are stored.
        shard_size: images a shard; the last may have fewer.
        batch_size: images a step of the encoder.
        threads: threads that decode.
    """

    source: ImageSource
    encoder: DualEncoder
    digests: np.ndarray
    lost: dict[int, str]
    folder: Any
    dtype: np.dtype
    shard_size: int
    batch_size: int
    threads: int

    @property
    def shard_count(self) -> int:
        return -(-len(self.source) // self.shard_size)

    def bytes_of(self, numbers: list[int]) -> int:
        """What these shards take on the disk, near enough."""
        count = sum(len(self.positions(number)) for number in numbers)
        return count * self.encoder.embed_dim * self.dtype.itemsize

    def positions(self, number: int) -> range:
        start = number * self.shard_size
        return range(start, min(start + self.shard_size, len(self.source)))

    def open_shard(self, number: int, retry: bool = True, verify: bool = True) -> Shard | None:
        """The shard if it is whole, and still right about the images that it left out."""
        positions, width = self.positions(number), self.encoder.embed_dim
        shard = read_shard(self.folder, number, len(positions), width, self.dtype, verify=verify)
        if shard is None or not retry:
            return shard
        # What made an image unreadable may be over: a disk, a share, a missing decoder.
        again = (self.decode(positions[offset]) for offset, _ in shard.skipped)
        return None if any(isinstance(result, np.ndarray) for result in again) else shard

    def decode(self, index: int) -> np.ndarray | str:
        """Pixels uint8 [S, S, 3] ready for the encoder, or the reason why there are none."""
        if index in self.lost:
            return self.lost[index]
        result = try_decode(partial(self.source.load, index), self.encoder.preprocess)
        try:
            digest = self.source.digest(index)
        except UnreadableImage as error:
            return str(error)
        # The key vouches for the bytes that were hashed; these must be the same.
        if digest != self.digests[index].tobytes():
            name = self.source.name(index)
            raise UserError(f"{name} changed while it was being encoded: run the command again")
        return result


def encode_shards(
    job: EncodingJob, missing: list[int], done: int, report: Progress
) -> Generator[int, None, None]:
    """Encode and write the missing shards, one after the other; yields each when it is whole.

    Args:
        job: what to encode.
        missing: which shards.
        done: how many images need no encoding.
        report: told how many images are done.
    """
    wanted = [index for number in missing for index in job.positions(number)]
    total = done + len(wanted)
    report(done, total)
    decoded = map_ahead(
        job.decode, wanted, threads=job.threads, window=2 * job.batch_size + job.threads
    )

    def embed(batch: list[np.ndarray]) -> np.ndarray:
        return job.encoder.embed_pixels(np.stack(batch), batch_size=job.batch_size)

    for position, number in enumerate(missing):
        skipped: list[tuple[int, str]] = []
        batches = _batches(decoded, len(job.positions(number)), job.batch_size, skipped)
        rows = [np.empty((0, job.encoder.embed_dim), np.float32)]
        # One thread feeds the device while this one gathers the next batch.
        for embeddings in map_ahead(embed, batches, threads=1, window=2):
            rows.append(embeddings)
            done += len(embeddings)
            report(min(done, total - 1), total)
        rows_nxE = np.concatenate(rows)
        _refuse_non_finite(job, number, rows_nxE, skipped)
        try:
            write_shard(job.folder, number, rows_nxE.astype(job.dtype), tuple(skipped))
        except UserError as error:
            still = readable_size(job.bytes_of(missing[position:]))
            raise UserError(f"{error} ({still} of features are still to be written)") from error
        done += len(skipped)
        yield number
    report(total, total)


def _batches(
    decoded: Iterator[np.ndarray | str],
    count: int,
    batch_size: int,
    skipped: list[tuple[int, str]],
) -> Iterator[list[np.ndarray]]:
    """Batches of the next `count` images; those without pixels go to `skipped`.

    Batches never reach over the end of a shard, so that a shard's bytes do not depend on which
    shards were made in the same run.
    """
    batch: list[np.ndarray] = []
    for offset in range(count):
        result = next(decoded)
        if isinstance(result, str):
            skipped.append((offset, result))
            continue
        batch.append(result)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _refuse_non_finite(
    job: EncodingJob, number: int, rows: np.ndarray, skipped: list[tuple[int, str]]
) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        without = {offset for offset, _ in skipped}
        kept = [index for i, index in enumerate(job.positions(number)) if i not in without]
        raise UserError(
            f"encoder {job.encoder.name} gives non-finite embeddings for {broken.size} images "
            f"(first: {job.source.name(kept[broken[0]])}): load it with dtype='float32'"
        )


def readable_size(count: int) -> str:
    """Bytes for people: '640 bytes', '2.6 GB'."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
