"""Rows of one .npy file, read by position; the file is open only while it is read.

A memory map would keep a descriptor for every file (a store of a million images has a thousand),
and its pages count as this process's memory for as long as the system has room for them.
"""

import errno
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Rows this near to each other are read in one piece: skipping bytes costs as much as a new read.
_NEAR = 16


@dataclass(frozen=True, eq=False)
class RowFile:
    """A read-only [n, E] array that stays on disk.

    Attributes:
        path: of the .npy file.
        offset: bytes before the first row.
        shape: (n, E).
        dtype: of a number, of the width that was written.
    """

    path: Path
    offset: int
    shape: tuple[int, int]
    dtype: np.dtype

    @classmethod
    def open(cls, path: Path) -> "RowFile":
        """Read a file's header.

        Raises:
            ValueError: no .npy file of format 1.0 with rows in C order.
        """
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path} is not an array file of format 1.0")
            shape, transposed, dtype = np.lib.format.read_array_header_1_0(file)
            if len(shape) != 2 or transposed:
                raise ValueError(f"{path} does not hold rows: {shape}")
            return cls(path, file.tell(), (int(shape[0]), int(shape[1])), dtype)

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        return self.shape[0]

    def view(self, dtype: np.dtype) -> "RowFile":
        """The same bytes as numbers of another type of equal width."""
        if np.dtype(dtype).itemsize != self.dtype.itemsize:
            raise ValueError(f"{dtype} is not as wide as {self.dtype}")
        return RowFile(self.path, self.offset, self.shape, np.dtype(dtype))

    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` up to `stop`, [stop - start, E].

        Raises:
            OSError: the file is shorter than it was, or gone.
        """
        with self._open() as file:
            return self._read(file, start, stop)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Rows by position, by slice, or by an array of positions in any order."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self.read(start, max(stop, start))
        positions = np.arange(len(self))[index]
        rows = self._gather(np.atleast_1d(positions))
        return rows if positions.ndim else rows[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows in a file cannot become an array without a copy")
        rows = self.read(0, len(self))
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def _gather(self, positions: np.ndarray) -> np.ndarray:
        rows = np.empty((len(positions), self.shape[1]), self.dtype)
        order = np.argsort(positions, kind="stable")
        ends = np.flatnonzero(np.diff(positions[order]) > _NEAR) + 1
        with self._open() as file:
            for run in np.split(order, ends) if len(order) else []:
                first = int(positions[run[0]])
                piece = self._read(file, first, int(positions[run[-1]]) + 1)
                rows[run] = piece[positions[run] - first]
        return rows

    def _open(self) -> io.RawIOBase:
        return self.path.open("rb", buffering=0)  # pyright: ignore[reportReturnType]

    def _read(self, file: io.RawIOBase, start: int, stop: int) -> np.ndarray:
        rows = np.empty((stop - start, self.shape[1]), self.dtype)
        left = rows.reshape(-1).view(np.uint8).data
        file.seek(self.offset + start * self.shape[1] * self.dtype.itemsize)
        while len(left):
            count = file.readinto(left)
            if not count:
                raise OSError(errno.EIO, "cut off since it was opened", str(self.path))
            left = left[count:]
        return rows
