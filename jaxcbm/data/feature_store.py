"""Encode once: images become a folder of embeddings that any number of trainings read.

A store is found by what it was made from: the encoder's weights and preprocessing, the content of
every image, their order, and the number types. Change one of them and another store is made; no
store is ever updated. Labels and annotations are no part of it: they come from the image set each
time, so that relabelling needs no encoding and never leaves an old label behind.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.data.feature_shards import Shard, read_shard, sweep_abandoned, write_shard
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet, ImageSource, UnreadableImage
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.progress import ProgressLine
from jaxcbm.data.sharded_rows import ShardedRows
from jaxcbm.encoders.open_image import open_image
from jaxcbm.errors import UserError

__all__ = ["Features", "ImageEncoder", "Progress", "encode", "store_key"]

Progress = Callable[[int, int], None]

_FORMAT = 1  # part of every key: raise it when the same inputs would give other embeddings
_DTYPES = ("float32", "bfloat16", "float16")
_DIGEST_CHUNK = 64
_NO_DIGEST = bytes(32)


class ImageEncoder(Protocol):
    """What the store needs of a `DualEncoder`."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def embed_dim(self) -> int: ...
    @property
    def preprocess(self) -> Any: ...
    def embed_pixels(self, pixels: np.ndarray, batch_size: int = ...) -> np.ndarray: ...


def encode(
    images: ImageSet,
    encoder: ImageEncoder,
    root: Path | str,
    *,
    shard_size: int = 1024,
    batch_size: int = 64,
    dtype: str = "float32",
    progress: Progress | None = None,
    decode_threads: int | None = None,
) -> Features:
    """Embed every image, or open the embeddings where they have been made before.

    A run that was stopped, at any moment, goes on at the first shard that is not whole. Images
    that cannot be read are left out, counted, and listed with their reasons in the result, in one
    warning, and in the store's skipped.jsonl; each is tried again the next time.

    Args:
      images: N images.
      encoder: a `DualEncoder`.
      root: folder of stores; this one becomes `root/KEY`.
      shard_size: images a file, the unit that is written whole and that a stopped run repeats.
      batch_size: images a step of the encoder.
      dtype: "float32", "bfloat16" or "float16", how the embeddings are stored.
      progress: called with images done and images in all; a line on standard error unless given.
      decode_threads: threads that decode ahead of the encoder; one a core unless given.

    Returns:
      `Features` with the readable images in the order of `images`; rows are memory-mapped.

    Raises:
      UserError: no image can be read, an image changed meanwhile, the disk is full, or the
        encoder gives numbers that are not finite.
    """
    if dtype not in _DTYPES:
        raise UserError(f"unknown feature dtype {dtype!r}: choose one of {', '.join(_DTYPES)}")
    if not len(images):
        raise UserError("no images to encode: the image set is empty")
    threads = decode_threads or os.cpu_count() or 1
    digests, lost = _digest_all(images.source, threads, quiet=progress is not None)
    job = _Job(
        source=images.source,
        encoder=encoder,
        digests=digests,
        lost=lost,
        folder=Path(root) / store_key(encoder, digests, dtype, shard_size),
        dtype=np.dtype(jnp.dtype(dtype)),
        shard_size=shard_size,
        batch_size=batch_size,
        threads=threads,
    )
    shards = [job.open_shard(number) for number in range(job.shard_count)]
    missing = [number for number, shard in enumerate(shards) if shard is None]
    if missing:
        _prepare_folder(job, missing)
        report = progress or ProgressLine("encode", "images")
        for number in _encode_shards(job, missing, report):
            shards[number] = job.open_shard(number, retry=False)
    return _features(images, job, shards)


def store_key(encoder: ImageEncoder, digests_Nx32: np.ndarray, dtype: str, shard_size: int) -> str:
    """SHA-256, hex, of all that embeddings depend on, and of how they are cut into files."""
    made_from = {
        "format": _FORMAT,
        "encoder": encoder.content_hash,
        "computed_as": str(encoder.dtype),
        "preprocess": repr(encoder.preprocess),
        "stored_as": dtype,
        "shard_size": shard_size,
        "images": hashlib.sha256(digests_Nx32.tobytes()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Job:
    """What one call of `encode` knows; `lost` are the images whose bytes cannot even be read."""

    source: ImageSource
    encoder: ImageEncoder
    digests: np.ndarray
    lost: dict[int, str]
    folder: Path
    dtype: np.dtype
    shard_size: int
    batch_size: int
    threads: int

    @property
    def shard_count(self) -> int:
        return -(-len(self.source) // self.shard_size)

    def positions(self, number: int) -> range:
        start = number * self.shard_size
        return range(start, min(start + self.shard_size, len(self.source)))

    def open_shard(self, number: int, retry: bool = True) -> Shard | None:
        """The shard if it is whole, and still right about the images that it left out."""
        positions = self.positions(number)
        width = self.encoder.embed_dim
        shard = read_shard(self.folder, number, len(positions), width, self.dtype)
        if shard is None or not retry:
            return shard
        # What made an image unreadable may be over: a disk, a share, a missing decoder.
        again = (self.decode(positions[offset]) for offset, _ in shard.skipped)
        return None if any(isinstance(result, np.ndarray) for result in again) else shard

    def decode(self, index: int) -> np.ndarray | str:
        """Pixels uint8 [S, S, 3] ready for the encoder, or the reason why there are none."""
        if index in self.lost:
            return self.lost[index]
        try:
            image = open_image(self.source.load(index))
            pixels = self.encoder.preprocess.resize_and_crop(image)
            digest = self.source.digest(index)
        except (UnreadableImage, UserError) as error:
            return str(error)
        # The key vouches for the bytes that were hashed; these must be the same.
        if digest != self.digests[index].tobytes():
            name = self.source.name(index)
            raise UserError(f"{name} changed while it was being encoded: run the command again")
        return pixels


def _digest_all(
    source: ImageSource, threads: int, quiet: bool
) -> tuple[np.ndarray, dict[int, str]]:
    """Content of every image -> digests uint8 [N, 32] and the reasons of those without."""
    lost: dict[int, str] = {}

    def digest_chunk(start: int) -> bytes:
        digests = []
        for index in range(start, min(start + _DIGEST_CHUNK, len(source))):
            try:
                digests.append(source.digest(index))
            except UnreadableImage as error:
                lost[index] = str(error)
                digests.append(_NO_DIGEST)
        return b"".join(digests)

    report = None if quiet else ProgressLine("read", "images", patience=2.0)
    chunks = []
    starts = range(0, len(source), _DIGEST_CHUNK)
    for chunk in map_ahead(digest_chunk, starts, threads=threads, window=4 * threads):
        chunks.append(chunk)
        if report is not None:
            report(min(len(chunks) * _DIGEST_CHUNK, len(source)), len(source))
    return np.frombuffer(b"".join(chunks), np.uint8).reshape(len(source), 32), lost


def _prepare_folder(job: _Job, missing: list[int]) -> None:
    """Make the store's folder, describe it for people, and see that the rest will fit."""
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the feature store {job.folder}: {error.strerror}") from error
    sweep_abandoned(job.folder)
    needed = _bytes_of(job, missing)
    free = shutil.disk_usage(job.folder).free
    if free < needed:
        raise UserError(
            f"not enough space for the feature store {job.folder}: "
            f"needs {_size(needed)}, {_size(free)} free; free some or choose another folder"
        )
    manifest = job.folder / "manifest.json"
    if not manifest.exists():
        description = {
            "format": _FORMAT,
            "key": job.folder.name,
            "encoder": job.encoder.name,
            "encoder_hash": job.encoder.content_hash,
            "computed_as": str(job.encoder.dtype),
            "stored_as": job.dtype.name,
            "embed_dim": job.encoder.embed_dim,
            "images": len(job.source),
            "shard_size": job.shard_size,
            "shards": job.shard_count,
        }
        write_json(manifest, description)


def _encode_shards(job: _Job, missing: list[int], report: Progress) -> Iterator[int]:
    """Encode and write the missing shards, one after the other; yields each when it is whole."""
    wanted = [index for number in missing for index in job.positions(number)]
    total, done = len(job.source), len(job.source) - len(wanted)
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
            still = _size(_bytes_of(job, missing[position:]))
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
    job: _Job, number: int, rows: np.ndarray, skipped: list[tuple[int, str]]
) -> None:
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        without = {offset for offset, _ in skipped}
        kept = [index for i, index in enumerate(job.positions(number)) if i not in without]
        raise UserError(
            f"encoder {job.encoder.name} gives non-finite embeddings for {broken.size} images "
            f"(first: {job.source.name(kept[broken[0]])}): load it with dtype='float32'"
        )


def _features(images: ImageSet, job: _Job, shards: list[Shard | None]) -> Features:
    """Join the shards with what the image set says of each readable image."""
    whole = [shard for shard in shards if shard is not None]
    if len(whole) != len(shards):
        raise UserError(
            f"{job.folder} changes while it is read (is another program removing files there?): "
            "run the command again"
        )
    skipped = {
        number * job.shard_size + offset: reason
        for number, shard in enumerate(whole)
        for offset, reason in shard.skipped
    }
    names = tuple((job.source.name(index), reason) for index, reason in skipped.items())
    _tell_skipped(job, names)
    kept = np.array([i for i in range(len(images)) if i not in skipped], np.int64)
    return Features(
        embeddings=ShardedRows(tuple(shard.rows for shard in whole)),
        labels=images.labels[kept],
        digests=job.digests[kept],
        classes=images.classes,
        annotations=None if images.annotations is None else images.annotations[kept],
        annotation_phrases=images.annotation_phrases,
        skipped=names,
        key=job.folder.name,
    )


def _tell_skipped(job: _Job, skipped: tuple[tuple[str, str], ...]) -> None:
    listing = job.folder / "skipped.jsonl"
    text = "".join(json.dumps({"image": n, "reason": r}) + "\n" for n, r in skipped)
    if (listing.read_text(encoding="utf-8") if listing.exists() else "") != text:
        with atomic_file(listing) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if not skipped:
        return
    name, reason = skipped[0]
    if len(skipped) == len(job.source):
        raise UserError(f"none of the {len(skipped)} images can be read (first: {name}: {reason})")
    logging.warning(
        "skipped %d of %d images that cannot be read (first: %s: %s); all are listed in %s",
        *(len(skipped), len(job.source), name, reason, listing),
    )


def _bytes_of(job: _Job, numbers: list[int]) -> int:
    count = sum(len(job.positions(number)) for number in numbers)
    return count * job.encoder.embed_dim * job.dtype.itemsize


def _size(count: int) -> str:
    """Bytes for people: '640 bytes', '2.6 GB'."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
