"""Batches of embeddings read from a store that need not fit in memory, a window ahead."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.store.sharded_rows import ShardedRows
from jaxcbm.data.stream.order import StreamOrder, shuffle_chunks, window_rows

# Rows at a time where the order of the store will do: validation, statistics.
BLOCK = 8192

Positives = Callable[[np.ndarray], np.ndarray]


class FeatureRows(NamedTuple):
    """A split as a stream reads it.

    Attributes:
        embeddings: [N, E], in memory or on disk, of any float type.
        labels: int32 [N].
        positives: from rows int64 [n] to bool or uint8 [n, D]; None where nobody asks for them.
    """

    embeddings: np.ndarray | ShardedRows
    labels: np.ndarray
    positives: Positives | None = None


class FeatureBatch(NamedTuple):
    """One step's rows, or the part of them that this process holds; on the host or on devices.

    Attributes:
        embeddings: [B, E], as they are stored.
        labels: int32 [B].
        positives: bool or uint8 [B, D], or None.
        mask: float32 [B]; 0 for rows that only fill up the batch.
    """

    embeddings: Any
    labels: Any
    positives: Any
    mask: Any


class Share(NamedTuple):
    """The streams of every batch that one process reads; by default all.

    Attributes:
        first: stream, 0 is the first.
        last: the stream after the last; -1 for the end.
    """

    first: int = 0
    last: int = -1


def feature_batches(
    rows: FeatureRows,
    order: StreamOrder,
    epoch: int,
    *,
    first_step: int = 0,
    share: Share = Share(),  # noqa: B008 - immutable
) -> Iterator[FeatureBatch]:
    """The batches of an epoch from some step on; the next window is read while this one is used.

    Memory holds two windows of the share, a third for the moment of the change, as stored.

    Args:
        rows: N rows.
        order: of N rows.
        epoch: 0 is the first.
        first_step: steps of this epoch that are done.
        share: which part of every batch is wanted.

    Yields:
        order.steps - first_step batches; their rows are the share of the whole batch, in order.
    """
    chunk_order = shuffle_chunks(order, epoch)
    first_window = first_step // order.window_steps

    def read(window: int) -> tuple[np.ndarray, np.ndarray]:
        wanted_SxLxP = window_rows(chunk_order, window, share.first, share.last)
        wanted_SxB = wanted_SxLxP.reshape(len(wanted_SxLxP), -1)
        if window == first_window:
            wanted_SxB = wanted_SxB[first_step - window * order.window_steps :]
        flat = rows.embeddings[wanted_SxB.ravel()]
        return wanted_SxB, flat.reshape(*wanted_SxB.shape, -1)

    windows = range(first_window, -(-order.steps // order.window_steps))
    for wanted_SxB, embeddings_SxBxE in map_ahead(read, windows, threads=1, window=2):
        for wanted_B, embeddings_BxE in zip(wanted_SxB, embeddings_SxBxE, strict=True):
            yield _batch(rows, wanted_B, embeddings_BxE, len(wanted_B))


def blocks_in_order(
    rows: FeatureRows,
    size: int = BLOCK,
    *,
    first: int = 0,
    stride: int = 1,
    part: tuple[int, int] | None = None,
) -> Iterator[FeatureBatch]:
    """Every `stride`-th block of rows in the order of the store, from block `first` on.

    Args:
        rows: N rows.
        size: rows of a block; the last one is filled up with zeros and mask 0.
        first: of the blocks.
        stride: the number of readers between whom the blocks are shared.
        part: first and last (excluded) row of every block that is wanted; all by default.
    """
    count = len(rows.labels)
    begin, end = part or (0, size)

    def read(block: int) -> tuple[np.ndarray, np.ndarray]:
        start, stop = (min(block * size + offset, count) for offset in (begin, end))
        return np.arange(start, stop), rows.embeddings[start:stop]

    blocks = range(first, -(-count // size), stride)
    for wanted_B, embeddings_BxE in map_ahead(read, blocks, threads=1, window=2):
        yield _batch(rows, wanted_B, embeddings_BxE, end - begin)


def _batch(rows: FeatureRows, wanted: np.ndarray, embeddings: np.ndarray, size: int):
    missing = size - len(wanted)
    batch = FeatureBatch(
        embeddings,
        rows.labels[wanted],
        None if rows.positives is None else rows.positives(wanted),
        np.ones(len(wanted), np.float32),
    )
    if not missing:
        return batch

    def fill(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))

    return FeatureBatch(*(fill(array) for array in batch))
