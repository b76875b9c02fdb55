"""A compiled function over batches of rows: one shape, in order, the device never waiting."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxcbm.distributed.parts import padded, place_part


def in_batches(
    function: Callable[[jax.Array | np.ndarray], Any],
    batches: Iterable[np.ndarray],
    size: int,
    mesh: Mesh | None = None,
) -> Iterator[Any]:
    """What a function says of each batch, in order.

    Every call has the same number of rows, so that the function is compiled once. The next batch
    is made and its call started before the result of the last one is waited for.

    Args:
        function: rows [size, ...] -> a pytree of arrays [size, ...], each row for itself.
        batches: of at most `size` rows [n, ...].
        size: rows of a call; with a mesh, rounded up to a multiple of its axis `data`.
        mesh: where the rows of a call are spread; None for one device.

    Yields:
        Pytrees of NumPy arrays [n, ...].

    >>> rows = np.arange(5.0)
    >>> [found.tolist() for found in in_batches(jax.numpy.sqrt, (rows[:3] ** 2, rows[3:] ** 2), 3)]
    [[0.0, 1.0, 2.0], [3.0, 4.0]]
    """
    size = size if mesh is None else padded(size, mesh)
    started: tuple[Any, int] | None = None
    for batch in batches:
        rows = np.zeros((size, *batch.shape[1:]), batch.dtype)
        rows[: len(batch)] = batch
        now = function(rows if mesh is None else place_part(rows, 0, size, mesh)), len(batch)
        if started is not None:
            yield _fetched(*started)
        started = now
    if started is not None:
        yield _fetched(*started)


def _fetched(result: Any, count: int) -> Any:
    return jax.tree.map(lambda array: np.asarray(array)[:count], result)
