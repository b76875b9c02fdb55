"""Mean and covariance of embeddings in one pass over them, a block at a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.stream.batches import BLOCK, FeatureBatch, FeatureRows, blocks_in_order


class Moments(NamedTuple):
    """Sums over rows from which mean and covariance follow; those of parts may be added.

    Attributes:
        count: float64 [].
        sums: of the rows less the pivot, float64 [E].
        squares: of the products of every two columns less the pivot, float64 [E, E].
    """

    count: np.ndarray
    sums: np.ndarray
    squares: np.ndarray

    def mean(self, pivot_E: np.ndarray) -> np.ndarray:
        """Mean of the rows, float64 [E]."""
        return pivot_E + self.sums / self.count

    def covariance(self) -> np.ndarray:
        """Covariance of the rows, float64 [E, E]."""
        mean_E = self.sums / self.count
        return self.squares / self.count - np.outer(mean_E, mean_E)


def choose_pivot(rows: FeatureRows) -> np.ndarray:
    """A point near the mean, float32 [E]: the mean of the first rows.

    Squares of differences from it lose no digits to a common part, which embeddings have.
    """
    return np.asarray(rows.embeddings[:BLOCK], np.float32).mean(axis=0)


def sum_moments(
    rows: FeatureRows, pivot_E: np.ndarray, first: int = 0, stride: int = 1, block: int = BLOCK
) -> Moments:
    """Sums over every `stride`-th block of rows, from block `first` on.

    Products are taken in float32 on the device, within a block; blocks add up in float64. What a
    block leaves out of the last digit does not grow with N.

    Args:
        rows: N rows of any float type.
        pivot_E: from `choose_pivot`, the same for all parts.
        first: block to begin with.
        stride: the number of readers.
        block: rows of one.

    >>> rows = FeatureRows(np.array([[1.0], [3.0]], np.float32), np.zeros(2, np.int32))
    >>> pivot = choose_pivot(rows)
    >>> found = sum_moments(rows, pivot)
    >>> found.mean(pivot).tolist(), found.covariance().tolist()
    ([2.0], [[1.0]])
    """
    width = rows.embeddings.shape[1]
    total = Moments(np.zeros(()), np.zeros(width), np.zeros((width, width)))
    blocks = blocks_in_order(rows, min(block, len(rows.labels)), first=first, stride=stride)

    def dispatch(batch: FeatureBatch) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _block_moments(batch.embeddings, batch.mask, pivot_E)

    # The device works on one block while the next one is fetched.
    for part in map_ahead(dispatch, blocks, threads=1, window=2):
        total = Moments(*(a + np.asarray(b, np.float64) for a, b in zip(total, part, strict=True)))
    return total


@jax.jit
def _block_moments(rows_BxE: jax.Array, mask_B: jax.Array, pivot_E: jax.Array):
    centred_BxE = (rows_BxE.astype(jnp.float32) - pivot_E[None, :]) * mask_B[:, None]
    squares = jnp.matmul(centred_BxE.T, centred_BxE, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(mask_B), jnp.sum(centred_BxE, axis=0), squares
