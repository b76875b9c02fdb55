"""Rows that live in several files, read as one array."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxcbm.data.store.row_file import RowFile


@dataclass(frozen=True, eq=False)
class ShardedRows:
    """A read-only [N, E] array whose rows stay on disk until they are asked for.

    Indexing by a slice, a position, or an array of positions gives a NumPy array of those rows;
    `np.asarray` gives all of them. What is asked for costs memory, what is not does not.

    Attributes:
        shards: arrays or files [n, E] of one dtype.
        order: int64 [N], which row of the concatenated shards stands where; None: all, in order.
        held: what keeps the files from being removed for as long as there are such rows.

    >>> rows = ShardedRows((np.zeros((2, 3)), np.ones((1, 3))))
    >>> rows.shape, rows[2].tolist(), rows.take([2, 0]).shape
    ((3, 3), [1.0, 1.0, 1.0], (2, 3))
    """

    shards: tuple[np.ndarray | RowFile, ...]
    order: np.ndarray | None = None
    held: tuple[Any, ...] = ()

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
        kept = tuple(each for part in rows for each in part.held)
        if all(part.order is None for part in rows):
            return cls(shards, held=kept)
        held = np.array([part._starts[-1] for part in rows])
        before = np.cumsum(held) - held
        orders = [part._rows(np.arange(len(part))) for part in rows]
        order = np.concatenate([o + b for o, b in zip(orders, before, strict=True)])
        return cls(shards, order, kept)

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
        return int(self._starts[-1]) if self.order is None else len(self.order)

    def take(self, indices: Sequence[int] | np.ndarray) -> "ShardedRows":
        """The rows at these positions, in this order, still on disk."""
        return ShardedRows(self.shards, self._rows(self._positions(indices)), self.held)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if self.order is None and step == 1:
                return self._between(start, max(start, stop))
            return self._gather(self._rows(np.arange(start, stop, step)))
        positions = self._positions(index)
        rows = self._gather(self._rows(np.atleast_1d(positions)))
        return rows if positions.ndim else rows[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows in several files cannot become one array without a copy")
        rows = self[:]
        return rows if dtype is None else rows.astype(dtype, copy=False)

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        """The first row of each shard, and the number of all rows; int64 [shards + 1]."""
        return np.cumsum([0] + [len(shard) for shard in self.shards])

    def _positions(self, index: int | Sequence[int] | np.ndarray) -> np.ndarray:
        """Positions from 0 on; from the end where they are negative, as in NumPy."""
        given = np.asarray(index)
        if given.dtype == bool:
            return np.flatnonzero(given)
        positions = given.astype(np.int64)
        if positions.size and not -len(self) <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"positions must lie in 0 .. {len(self) - 1}")
        return np.where(positions < 0, positions + len(self), positions)

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        return positions if self.order is None else self.order[positions]

    def _between(self, start: int, stop: int) -> np.ndarray:
        """Consecutive rows: each shard's part is one read."""
        rows = np.empty((stop - start, self.shape[1]), self.dtype)
        at = start
        while at < stop:
            number = int(np.searchsorted(self._starts, at, side="right")) - 1
            end = min(stop, int(self._starts[number + 1]))
            first = int(self._starts[number])
            rows[at - start : end - start] = self.shards[number][at - first : end - first]
            at = end
        return rows

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        home = np.searchsorted(self._starts, rows, side="right") - 1
        by_home = np.argsort(home, kind="stable")
        for part in np.split(by_home, np.flatnonzero(np.diff(home[by_home])) + 1):
            if len(part):
                number = home[part[0]]
                gathered[part] = self.shards[number][rows[part] - self._starts[number]]
        return gathered
