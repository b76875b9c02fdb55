"""Batches of which every process holds only the rows that its own devices take."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def padded(count: int, mesh: Mesh) -> int:
    """Rows rounded up to a multiple of the mesh's axis `data`."""
    return -(-count // mesh.shape["data"]) * mesh.shape["data"]


def own_rows(count: int, mesh: Mesh) -> tuple[int, int]:
    """First and last (excluded) of `count` rows, padded, that this process's devices take.

    Where they take several pieces, what lies between counts too.

    >>> mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])
    >>> own_rows(5, mesh)
    (0, 5)
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    total = padded(count, mesh)
    pieces = sharding.addressable_devices_indices_map((total,)).values()
    bounds = [piece[0].indices(total)[:2] for piece in pieces if piece is not None]
    return min(start for start, _ in bounds), max(stop for _, stop in bounds)


def place_part(array: np.ndarray, first: int, count: int, mesh: Mesh) -> jax.Array:
    """Rows of a batch on the mesh, split over `data`, zeros where there are none.

    Args:
        array: [n, ...], rows `first` to `first + n` of the batch; at least those of `own_rows`
            that are below `count`.
        first: where they stand in the batch.
        count: rows of the batch.
        mesh: with an axis `data`.

    Returns:
        [count rounded up to a multiple of the axis, ...]; it may share memory with `array`.

    >>> mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])
    >>> place_part(np.ones((3, 2), np.float32), 0, 3, mesh).shape
    (3, 2)
    """
    total = padded(count, mesh)

    def rows(index: Any) -> np.ndarray:
        start, stop, _ = index[0].indices(total)
        taken = np.asarray(array[max(start - first, 0) : max(stop - first, 0)])
        missing = stop - start - len(taken)
        return np.pad(taken, [(0, missing)] + [(0, 0)] * (taken.ndim - 1)) if missing else taken

    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.make_array_from_callback((total, *array.shape[1:]), sharding, rows)
