"""Encode once: images become a folder of embeddings that any number of trainings read.

A store is found by what it was made from: the encoder's weights and preprocessing, the content of
every image, their order, and the number types. Change one of them and another store is made; no
store is ever updated. Labels and annotations are no part of it: they come from the image set each
time, so that relabelling needs no encoding and never leaves an old label behind.

In a run of several processes each encodes every P-th shard, with its own devices, into the folder
that they share, which may be gs://BUCKET/FOLDER; then all read the whole. A store does not know
how many processes made it.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.progress import ProgressLine
from jaxcbm.data.skipped import SKIPPED_FILE, list_skipped, tell_skipped
from jaxcbm.data.store.encoding import EncodingJob, Progress, encode_shards, readable_size
from jaxcbm.data.store.image_digests import digest_together
from jaxcbm.data.store.in_use import MANIFEST_FILE, Hold, hold_store
from jaxcbm.data.store.joint_progress import JointProgress
from jaxcbm.data.store.sharded_rows import ShardedRows
from jaxcbm.data.store.shards import Shard, sweep_abandoned
from jaxcbm.distributed import preemption, processes
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.errors import UserError
from jaxcbm.storage import as_path, is_remote, write_whole

_FORMAT = 1  # part of every key: raise it when the same inputs would give other embeddings
_DTYPES = ("float32", "bfloat16", "float16")


def encode(
    images: ImageSet,
    encoder: DualEncoder,
    root: Path | str,
    *,
    shard_size: int = 1024,
    batch_size: int = 64,
    dtype: str = "float32",
    progress: Progress | None = None,
    decode_threads: int | None = None,
    quiet: bool = False,
) -> Features:
    """Embed every image, or open the embeddings where they have been made before.

    A run that was stopped, at any moment, goes on with the shards that are not whole. Images
    that cannot be read are left out, counted, and listed with their reasons in the result and in
    the store's skipped.jsonl, some of them in a warning; each is tried again the next time.

    Args:
        images: N images.
        encoder: a `DualEncoder`.
        root: folder of stores, here or gs://; this one becomes `root/KEY`.
        shard_size: images a file, the unit that is written whole and that a stopped run repeats.
        batch_size: images a step of the encoder.
        dtype: "float32", "bfloat16" or "float16", how the embeddings are stored.
        progress: called with images done and images in all; a line on standard error unless given.
        decode_threads: threads that decode ahead of the encoder; one a core unless given.
        quiet: no warning: the caller tells of what is skipped (`jaxcbm.data.skipped`).

    Returns:
        `Features` with the readable images in the order of `images`; rows stay on disk.

    Raises:
        Preempted: asked to stop between two shards, in a program that listens for it.
        UserError: no image can be read, an image changed meanwhile, the disk is full, or the
            encoder gives numbers that are not finite.
    """
    if dtype not in _DTYPES:
        raise UserError(f"unknown feature dtype {dtype!r}: choose one of {', '.join(_DTYPES)}")
    if not len(images):
        raise UserError("no images to encode: the image set is empty")
    threads = decode_threads or os.cpu_count() or 1
    place = as_path(root)
    digests, lost = digest_together(images.source, threads, progress is not None, place)
    job = EncodingJob(
        source=images.source,
        encoder=encoder,
        digests=digests,
        lost=lost,
        folder=place / store_key(encoder, digests, dtype, shard_size),
        dtype=np.dtype(jnp.dtype(dtype)),
        shard_size=shard_size,
        batch_size=batch_size,
        threads=threads,
    )
    held = _claim(job)
    shards = _make_missing(job, progress or ProgressLine("encode", "images"))
    features = _features(images, job, shards, held)
    if not quiet:
        tell_skipped(features.skipped, len(images), job.folder / SKIPPED_FILE)
    return features


def store_key(encoder: DualEncoder, digests_Nx32: np.ndarray, dtype: str, shard_size: int) -> str:
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


def _claim(job: EncodingJob) -> tuple[Hold, ...]:
    """Keep the store from being pruned; of several processes, process 0 does so for all."""
    if is_remote(job.folder) or not processes.is_main():
        return ()
    while True:
        _describe(job)
        if held := hold_store(job.folder):
            return (held,)
        if (job.folder / MANIFEST_FILE).exists():  # no such locks here
            return ()


def _make_missing(job: EncodingJob, progress: Progress) -> list[Shard | None]:
    """Open all shards, those of this process after making what is missing of them."""
    mine = range(processes.process_index(), job.shard_count, processes.process_count())
    shards = {number: job.open_shard(number) for number in mine}
    missing = [number for number, shard in shards.items() if shard is None]
    whole = sum(len(job.positions(n)) for n, shard in shards.items() if shard is not None)
    stopped = False
    with JointProgress(progress, len(job.source), whole) as report:
        if missing:
            _prepare_folder(job, missing)
            done = encode_shards(job, missing, whole, report)
            for number in done:
                shards[number] = job.open_shard(number, retry=False)
                if stopped := preemption.notified() and number != missing[-1]:
                    done.close()
                    break
        # Also the moment from which all shards are there for everybody.
        stopped = "stopped" in processes.exchange("encoded", "stopped" if stopped else "done")
    if stopped:
        raise preemption.Preempted("the end of a shard")
    for number in range(job.shard_count):
        if number not in shards:
            # The process that it belongs to has read every byte of it before it came here.
            shards[number] = job.open_shard(number, retry=False, verify=False)
    return [shards[number] for number in range(job.shard_count)]


def _prepare_folder(job: EncodingJob, missing: list[int]) -> None:
    """Make the store's folder, describe it for people, and see that the rest will fit."""
    _describe(job)
    if is_remote(job.folder):
        return
    sweep_abandoned(job.folder)
    needed = job.bytes_of(missing)
    free = shutil.disk_usage(job.folder).free
    if free < needed:
        raise UserError(
            f"not enough space for the feature store {job.folder}: needs {readable_size(needed)}, "
            f"{readable_size(free)} free; free some or choose another folder"
        )


def _describe(job: EncodingJob) -> None:
    manifest = job.folder / MANIFEST_FILE
    if manifest.exists():
        return
    try:
        if not is_remote(job.folder):
            job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the feature store {job.folder}: {error.strerror}") from error
    if processes.is_main():
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
        write_whole(manifest, (json.dumps(description, indent=2) + "\n").encode())


def _features(
    images: ImageSet,
    job: EncodingJob,
    shards: list[Shard | None],
    held: tuple[Hold, ...],
) -> Features:
    """Join the shards with what the image set says of each readable image."""
    whole = [shard for shard in shards if shard is not None]
    if len(whole) != len(shards):
        raise UserError(
            f"{job.folder} changes while it is read, or not all processes of the run share it (is "
            "another program removing files there?): run the command again"
        )
    skipped = {
        number * job.shard_size + offset: reason
        for number, shard in enumerate(whole)
        for offset, reason in shard.skipped
    }
    names = tuple((job.source.name(index), reason) for index, reason in skipped.items())
    list_skipped(names, job.folder / SKIPPED_FILE)
    if len(names) == len(images):
        name, reason = names[0]
        raise UserError(f"none of the {len(names)} images can be read (first: {name}: {reason})")
    kept = np.array([i for i in range(len(images)) if i not in skipped], np.int64)
    # Without the images left out these are other rows, although they come from the same folder.
    key = hashlib.sha256(f"{job.folder.name}{sorted(skipped)}".encode()).hexdigest()
    return Features(
        embeddings=ShardedRows(tuple(shard.rows for shard in whole), held=held),
        labels=images.labels[kept],
        digests=job.digests[kept],
        classes=images.classes,
        annotations=None if images.annotations is None else images.annotations[kept],
        annotation_phrases=images.annotation_phrases,
        skipped=names,
        key=key if skipped else job.folder.name,
    )
