"""A path of sparse heads with its non-zero weights alone, to be kept in memory and on disk."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.sparse.path import SparsePath


class PackedPath(NamedTuple):
    """A `SparsePath` whose heads are compressed sparse rows, one after the other; NumPy arrays.

    A path of 100 heads for 1000 classes and 4500 concepts takes 1.8 GB when dense.

    Attributes:
        lambdas, biases, objective, certificate, iterations, nec: as in `SparsePath`.
        values: the Z weights that are not zero, float32 [Z].
        columns: the concept of each, uint16 or uint32 [Z].
        counts: how many of them each class of each head has, int32 [P, K].
    """

    lambdas: np.ndarray
    biases: np.ndarray
    objective: np.ndarray
    certificate: np.ndarray
    iterations: np.ndarray
    nec: np.ndarray
    values: np.ndarray
    columns: np.ndarray
    counts: np.ndarray

    def head(self, position: int, concepts: int) -> np.ndarray:
        """One head of the path, float32 [K, D], for D concepts."""
        before, counts_K = int(self.counts[:position].sum()), self.counts[position]
        own = slice(before, before + int(counts_K.sum()))
        head_KxD = np.zeros((len(counts_K), concepts), np.float32)
        rows = np.repeat(np.arange(len(counts_K)), counts_K)
        head_KxD[rows, self.columns[own]] = self.values[own]
        return head_KxD

    def unpack(self, concepts: int, positions: Sequence[int] | None = None) -> SparsePath:
        """The path as it was, or a few of its heads."""
        kept = np.arange(len(self.nec)) if positions is None else np.asarray(positions)
        return SparsePath(
            weights=jnp.asarray(np.stack([self.head(int(p), concepts) for p in kept])),
            **{
                name: jnp.asarray(getattr(self, name)[kept])
                for name in SparsePath._fields
                if name != "weights"
            },
        )


def pack(path: SparsePath) -> PackedPath:
    """Keep the non-zero weights of a path.

    >>> weights = jnp.array([[[0.0, 0.0]], [[0.0, 2.0]]])
    >>> packed = pack(SparsePath(*(jnp.zeros(2),), weights, *(jnp.zeros(2),) * 5))
    >>> packed.values.tolist(), packed.columns.tolist(), packed.counts.tolist()
    ([2.0], [1], [[0], [1]])
    >>> packed.unpack(concepts=2).weights.tolist() == weights.tolist()
    True
    """
    weights_PxKxD = np.asarray(path.weights)
    filled = weights_PxKxD != 0
    width = np.uint16 if weights_PxKxD.shape[2] <= 2**16 else np.uint32
    return PackedPath(
        values=weights_PxKxD[filled],
        columns=np.nonzero(filled)[2].astype(width),
        counts=filled.sum(axis=2, dtype=np.int32),
        **{name: np.asarray(value) for name, value in path._asdict().items() if name != "weights"},
    )


def join(pieces: Sequence[PackedPath]) -> PackedPath:
    """One path of pieces that follow each other."""
    return PackedPath(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))
