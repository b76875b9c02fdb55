"""Rows that live in several memory-mapped files, read as one array."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ShardedRows:
    """A read-only [N, E] array whose rows stay on disk until they are asked for.

    Indexing by a slice, a position, or an array of positions gives a NumPy array of those rows;
    `np.asarray` gives all of them.

    Args:
      shards: arrays [n, E] of one dtype, usually memory-mapped.
      order: int64 [N], which row of the concatenated shards stands where; None: all, in order.

    >>> rows = ShardedRows((np.zeros((2, 3)), np.ones((1, 3))))
    >>> rows.shape, rows[2].tolist(), rows.take([2, 0]).shape
    ((3, 3), [1.0, 1.0, 1.0], (2, 3))
    """

    shards: tuple[np.ndarray, ...]
    order: np.ndarray | None = None

    def __post_init__(self):
        if not self.shards:
            raise ValueError("no shards")
        widths = {(shard.ndim, shard.shape[-1], shard.dtype) for shard in self.shards}
        if len(widths) != 1 or self.shards[0].ndim != 2:
            raise ValueError(f"shards must be [n, E] of one width and dtype, not {widths}")

    @classmethod
    def join(cls, parts: "Sequence[np.ndarray | ShardedRows]") -> "ShardedRows":
        """The rows of all parts, one part after the other; nothing is copied."""
        rows = [part if isinstance(part, ShardedRows) else cls((part,)) for part in parts]
        shards = tuple(shard for part in rows for shard in part.shards)
        if all(part.order is None for part in rows):
            return cls(shards)
        held = np.array([sum(len(shard) for shard in part.shards) for part in rows])
        before = np.cumsum(held) - held
        orders = [part._rows(np.arange(len(part))) for part in rows]
        return cls(shards, np.concatenate([o + b for o, b in zip(orders, before, strict=True)]))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.shards[0].shape[1]

    @property
    def dtype(self) -> np.dtype:
        return self.shards[0].dtype

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        if self.order is not None:
            return len(self.order)
        return sum(len(shard) for shard in self.shards)

    def take(self, indices: Sequence[int] | np.ndarray) -> "ShardedRows":
        """The rows at these positions, in this order, still on disk."""
        positions = np.arange(len(self))[np.asarray(indices, np.int64)]
        return ShardedRows(self.shards, self._rows(positions))

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        chosen = np.arange(len(self))[index]
        rows = self._gather(self._rows(np.atleast_1d(chosen)))
        return rows if chosen.ndim else rows[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows in several files cannot become one array without a copy")
        rows = np.concatenate(self.shards) if self.order is None else self._gather(self.order)
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        return positions if self.order is None else self.order[positions]

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        starts = np.cumsum([0] + [len(shard) for shard in self.shards])
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        home = np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(home):
            here = home == number
            gathered[here] = self.shards[number][rows[here] - starts[number]]
        return gathered
