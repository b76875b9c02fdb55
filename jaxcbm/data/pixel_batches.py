"""Batches of pixels in an order that a seed settles, decoded ahead of the device."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxcbm.data.decoding import decode_row, fill_black
from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.store.image_digests import digest_all
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.errors import UserError


class Pictures(NamedTuple):
    """Images, and what a step must know of each.

    Attributes:
        images: N images.
        preprocess: how they enter the encoder.
        positives: bool or uint8 [N, D], or None.
        threads: that decode; 0 for one a core.
    """

    images: ImageSet
    preprocess: Preprocess
    positives: np.ndarray | None = None
    threads: int = 0


class Batch(NamedTuple):
    """One step's images.

    Attributes:
        pixels: uint8 [B, S, S, 3].
        labels: int32 [B].
        positives: bool or uint8 [B, D], or None.
        mask: float32 [B]; 0 for rows that only fill up the batch.
    """

    pixels: np.ndarray
    labels: np.ndarray
    positives: np.ndarray | None
    mask: np.ndarray


def of_features(images: ImageSet, features: Features) -> ImageSet:
    """The images that features were made from, in the order of the features.

    They are found by their content, so it does not matter how the features were split, selected,
    or which unreadable images they lack.

    Raises:
        UserError: features of other images.
    """
    digests, _ = digest_all(images.source, os.cpu_count() or 1, quiet=True)
    position = {digest.tobytes(): i for i, digest in enumerate(digests)}
    rows = [position.get(digest.tobytes(), -1) for digest in features.digests]
    if missing := rows.count(-1):
        raise UserError(
            f"{missing} of {len(rows)} features belong to none of the {len(images)} images: encode "
            "these images (protocol=pooled takes test images too, which no encoder may train on)"
        )
    return images.select(rows)


def shuffled_rows(count: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, int64 [S, B]; the tail that fills no batch is left out.

    >>> shuffled_rows(5, 2, seed=0, epoch=0).shape
    (2, 2)
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return order[: count // batch_size * batch_size].reshape(-1, batch_size)


def rows_in_order(count: int, batch_size: int) -> np.ndarray:
    """Every row once, int64 [S, B]; -1 fills up the last batch.

    >>> rows_in_order(3, 2).tolist()
    [[0, 1], [2, -1]]
    """
    missing = -count % batch_size
    return np.concatenate([np.arange(count), np.full(missing, -1)]).reshape(-1, batch_size)


def pixel_batches(pictures: Pictures, rows_SxB: np.ndarray) -> Iterator[Batch]:
    """Batches of these rows, in this order whatever the number of threads.

    Args:
        pictures: the images.
        rows_SxB: int64; -1 gives a black picture with mask 0.

    Raises:
        UserError: an image cannot be read (any more).
    """
    source, preprocess = pictures.images.source, pictures.preprocess
    size, threads = rows_SxB.shape[1], pictures.threads or os.cpu_count() or 1

    def decode(row: int) -> np.ndarray | None:
        return None if row < 0 else decode_row(source, preprocess, row)

    flat = (int(row) for row in rows_SxB.ravel())
    decoded = map_ahead(decode, flat, threads=threads, window=2 * size + threads)
    for rows_B in rows_SxB:
        pixels = fill_black([next(decoded) for _ in range(size)], source, preprocess)
        known_B = np.maximum(rows_B, 0)
        yield Batch(
            pixels,
            np.where(rows_B >= 0, pictures.images.labels[known_B], 0).astype(np.int32),
            None if pictures.positives is None else pictures.positives[known_B],
            (rows_B >= 0).astype(np.float32),
        )
