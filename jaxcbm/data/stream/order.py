"""The order of an epoch over rows that do not fit in memory: near to random, read in long pieces.

The rows are cut into chunks of neighbours. An epoch lays the chunks end to end in random order and
cuts that tape into as many equal lanes as there are parts of a batch. Every batch takes the next
few rows of every lane, and a lane's rows are shuffled within a window that moves along it. So a
batch mixes distant places of the store, each lane is read in pieces of a chunk, and a process that
holds some lanes' part of every batch reads no other lane.

The order follows from the numbers below and from nothing else: not from how the store is cut into
files, nor from devices or processes.
"""

from typing import NamedTuple

import numpy as np

_MOST_LANES = 64
_CHUNKS_IN_A_LANE = 16
_MOST_ROWS_IN_A_CHUNK = 256


class StreamOrder(NamedTuple):
    """What settles an order.

    Attributes:
        rows: N >= 1.
        batch: rows a step, 1 to N.
        seed: of the shuffles.
        window: rows that are shuffled at a time over all lanes; at least a batch is taken.
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
    def lanes(self) -> int:
        """The largest divisor of the batch up to 64."""
        return max(d for d in range(1, min(_MOST_LANES, self.batch) + 1) if self.batch % d == 0)

    @property
    def part(self) -> int:
        """Rows that each lane gives to a batch."""
        return self.batch // self.lanes

    @property
    def chunk(self) -> int:
        """Neighbours that stay together on the tape: 256, fewer where lanes would lack choice."""
        return min(max(self.rows // (_CHUNKS_IN_A_LANE * self.lanes), 1), _MOST_ROWS_IN_A_CHUNK)

    @property
    def window_steps(self) -> int:
        """Steps that one window feeds."""
        return min(max(self.window // self.batch, 1), max(self.steps, 1))


class Tape(NamedTuple):
    """One epoch's order of chunks.

    Attributes:
        order: what it belongs to.
        epoch: 0 is the first.
        chunks: int64 [ceil(N / chunk)], which chunk of the store stands where.
        ends: int64, the tape position after each of them.
        turn: tape position at which the epoch begins.
    """

    order: StreamOrder
    epoch: int
    chunks: np.ndarray
    ends: np.ndarray
    turn: int


def make_tape(order: StreamOrder, epoch: int) -> Tape:
    """Shuffle the chunks of an epoch; costs 16 bytes a chunk."""
    rng = np.random.default_rng([order.seed, epoch])
    count = -(-order.rows // order.chunk)
    chunks = rng.permutation(count)
    lengths = np.minimum(order.chunk, order.rows - chunks * order.chunk)
    return Tape(order, epoch, chunks, np.cumsum(lengths), int(rng.integers(order.rows)))


def window_rows(tape: Tape, window: int, first_lane: int = 0, last_lane: int = -1) -> np.ndarray:
    """Where in the store the batches of one window lie.

    Args:
        tape: the epoch.
        window: 0 is the first.
        first_lane: the first lane wanted.
        last_lane: the lane after the last one wanted; -1 for all.

    Returns:
        int64 [steps in the window, wanted lanes, part]; flattened over the last two axes, the rows
        of each batch (or the wanted part of it) in order.

    >>> order = StreamOrder(rows=7, batch=2, seed=0, window=4)
    >>> windows = [window_rows(make_tape(order, epoch=0), i) for i in range(2)]
    >>> [w.shape for w in windows], len(set(np.concatenate(windows).ravel().tolist()))
    ([(2, 2, 1), (1, 2, 1)], 6)
    """
    order = tape.order
    last_lane = order.lanes if last_lane == -1 else last_lane
    first_step = window * order.window_steps
    steps = min(order.window_steps, order.steps - first_step)
    length = order.steps * order.part
    lanes = []
    for lane in range(first_lane, last_lane):
        start = lane * length + first_step * order.part
        positions = (tape.turn + start + np.arange(steps * order.part)) % order.rows
        rng = np.random.default_rng([order.seed, tape.epoch, window, lane])
        lanes.append(_rows_at(tape, rng.permutation(positions)).reshape(steps, order.part))
    return np.stack(lanes, axis=1)


def _rows_at(tape: Tape, positions: np.ndarray) -> np.ndarray:
    """Tape positions -> rows of the store."""
    place = np.searchsorted(tape.ends, positions, side="right")
    chunk = tape.chunks[place]
    length = np.minimum(tape.order.chunk, tape.order.rows - chunk * tape.order.chunk)
    return chunk * tape.order.chunk + positions - (tape.ends[place] - length)
