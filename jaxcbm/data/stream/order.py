"""The order of an epoch over rows that do not fit in memory: near to random, read in long pieces.

The rows are cut into chunks of neighbours. An epoch lays the chunks end to end in random order and
cuts the sequence into as many equal streams as there are parts of a batch. Batches interleave the
streams: each takes the next few rows of every stream, whose rows pass a shuffle buffer, a window
that moves along the stream. So a batch mixes distant places of the store, each stream is read in
pieces of a chunk, and a process that holds some streams' part of every batch reads no other stream.

The order follows from the numbers below and from nothing else: not from how the store is cut into
files, nor from devices or processes.
"""

from typing import NamedTuple

import numpy as np

_MOST_STREAMS = 64
_CHUNKS_IN_A_STREAM = 16
_MOST_ROWS_IN_A_CHUNK = 256


class StreamOrder(NamedTuple):
    """What settles an order.

    Attributes:
        rows: N >= 1.
        batch: rows a step, 1 to N.
        seed: of the shuffles.
        window: rows that are shuffled at a time over all streams; at least a batch is taken.
    """

    rows: int
    batch: int
    seed: int
    window: int

    @property
    def steps(self) -> int:
        """Steps of an epoch; the rows that fill no batch are left out, other ones each epoch."""
        return self.rows // self.batch

    @property
    def streams(self) -> int:
        """The largest divisor of the batch up to 64."""
        return max(d for d in range(1, min(_MOST_STREAMS, self.batch) + 1) if self.batch % d == 0)

    @property
    def part(self) -> int:
        """Rows that each stream gives to a batch."""
        return self.batch // self.streams

    @property
    def chunk(self) -> int:
        """Neighbours that stay together: 256, fewer where streams would lack choice."""
        return min(max(self.rows // (_CHUNKS_IN_A_STREAM * self.streams), 1), _MOST_ROWS_IN_A_CHUNK)

    @property
    def window_steps(self) -> int:
        """Steps that one window feeds."""
        return min(max(self.window // self.batch, 1), max(self.steps, 1))


class ChunkOrder(NamedTuple):
    """One epoch's order of chunks.

    Attributes:
        order: what it belongs to.
        epoch: 0 is the first.
        chunks: int64 [ceil(N / chunk)], which chunk of the store stands where.
        ends: int64, the position in the sequence after each of them.
        offset: position in the sequence at which the epoch begins.
    """

    order: StreamOrder
    epoch: int
    chunks: np.ndarray
    ends: np.ndarray
    offset: int


def shuffle_chunks(order: StreamOrder, epoch: int) -> ChunkOrder:
    """Shuffle the chunks of an epoch; costs 16 bytes a chunk."""
    rng = np.random.default_rng([order.seed, epoch])
    count = -(-order.rows // order.chunk)
    chunks = rng.permutation(count)
    lengths = np.minimum(order.chunk, order.rows - chunks * order.chunk)
    return ChunkOrder(order, epoch, chunks, np.cumsum(lengths), int(rng.integers(order.rows)))


def window_rows(
    chunk_order: ChunkOrder, window: int, first_stream: int = 0, last_stream: int = -1
) -> np.ndarray:
    """Where in the store the batches of one window lie.

    Args:
        chunk_order: the epoch.
        window: 0 is the first.
        first_stream: the first stream wanted.
        last_stream: the stream after the last one wanted; -1 for all.

    Returns:
        int64 [steps in the window, wanted streams, part]; flattened over the last two axes, the
        rows of each batch (or the wanted part of it) in order.

    >>> order = StreamOrder(rows=7, batch=2, seed=0, window=4)
    >>> windows = [window_rows(shuffle_chunks(order, epoch=0), i) for i in range(2)]
    >>> [w.shape for w in windows], len(set(np.concatenate(windows).ravel().tolist()))
    ([(2, 2, 1), (1, 2, 1)], 6)
    """
    order = chunk_order.order
    last_stream = order.streams if last_stream == -1 else last_stream
    first_step = window * order.window_steps
    steps = min(order.window_steps, order.steps - first_step)
    length = order.steps * order.part
    streams = []
    for stream in range(first_stream, last_stream):
        start = stream * length + first_step * order.part
        positions = (chunk_order.offset + start + np.arange(steps * order.part)) % order.rows
        rng = np.random.default_rng([order.seed, chunk_order.epoch, window, stream])
        streams.append(_rows_at(chunk_order, rng.permutation(positions)).reshape(steps, order.part))
    return np.stack(streams, axis=1)


def _rows_at(chunk_order: ChunkOrder, positions: np.ndarray) -> np.ndarray:
    """Positions in the sequence of chunks -> rows of the store."""
    place = np.searchsorted(chunk_order.ends, positions, side="right")
    order, chunk = chunk_order.order, chunk_order.chunks[place]
    length = np.minimum(order.chunk, order.rows - chunk * order.chunk)
    return chunk * order.chunk + positions - (chunk_order.ends[place] - length)
