"""Which texts are too similar to an earlier one that stays: exact, in blocks of the matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Likeness(NamedTuple):
    """What each of D texts is most like.

    Attributes:
        index: int64 [D], the kept text that a dropped one is most like; -1 where a text is kept.
        similarity: float32 [D], how much; 0 where a text is kept.
    """

    index: np.ndarray
    similarity: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """bool [D]."""
        return self.index < 0


def drop_similar(texts_DxE: np.ndarray, below: float, *, block: int = 2048) -> Likeness:
    """Walk through texts in order; keep each that is less similar than `below` to all kept before.

    So a text is dropped only because of a text that is kept. Blocks of similarities are computed on
    the device; [D, D] never exists. Dropped texts are compared with nothing any more.

    Args:
        texts_DxE: unit-norm embeddings.
        below: cosine; a pair as similar as this, or more, loses its later text.
        block: texts a block; memory is a few times block * block * 4 bytes.

    Returns:
        `Likeness`.

    >>> found = drop_similar(np.array([[1.0, 0.0], [0.96, 0.28], [0.6, 0.8]]), below=0.9)
    >>> found.index.tolist(), [round(float(s), 2) for s in found.similarity]
    ([-1, 0, -1], [0.0, 0.96, 0.0])
    """
    texts_DxE = np.asarray(texts_DxE, np.float32)
    count, width = texts_DxE.shape
    # A power of two for few texts, so that sets of almost one size share a compiled program.
    size = min(block, 1 << max(count - 1, 0).bit_length())
    index_D = np.full(count, -1, np.int64)
    similarity_D = np.zeros(count, np.float32)
    kept_MxE = np.zeros((-(-count // size) * size, width), np.float32)
    kept_M: list[int] = []
    for start in range(0, count, size):
        rows = np.arange(start, min(start + size, count))
        own_BxE = _padded(texts_DxE[rows], size)
        best_B, where_B = jnp.full(size, -jnp.inf, jnp.float32), jnp.full(size, -1, jnp.int32)
        # Earlier kept texts are packed together, so that dropped ones cost nothing.
        for first in range(0, len(kept_M), size):
            real = jnp.int32(min(len(kept_M) - first, size))
            other_BxE = jnp.asarray(kept_MxE[first : first + size])
            best_B, where_B = _most_like(
                own_BxE, other_BxE, real, jnp.int32(first), best_B, where_B
            )
        like_B, inside_B, value_B = map(
            np.asarray, _within(own_BxE, jnp.int32(len(rows)), best_B, where_B, jnp.float32(below))
        )
        for row, like, inside, value in zip(rows, like_B, inside_B, value_B, strict=False):
            if like >= 0:
                index_D[row] = start + like if inside else kept_M[like]
                similarity_D[row] = value
        fresh = [int(row) for row in rows if index_D[row] < 0]
        kept_MxE[len(kept_M) : len(kept_M) + len(fresh)] = texts_DxE[fresh]
        kept_M += fresh
    return Likeness(index_D, similarity_D)


def _padded(rows_BxE: np.ndarray, size: int) -> jax.Array:
    padded = np.zeros((size, rows_BxE.shape[1]), np.float32)
    padded[: len(rows_BxE)] = rows_BxE
    return jnp.asarray(padded)


@jax.jit
def _most_like(
    own_BxE: jax.Array,
    other_BxE: jax.Array,
    real: jax.Array,
    first: jax.Array,
    best_B: jax.Array,
    where_B: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The most similar kept text so far, its place among the kept; of equals the earlier one."""
    similarity_BxB = _products(own_BxE, other_BxE)
    valid_B = jnp.arange(other_BxE.shape[0]) < real
    similarity_BxB = jnp.where(valid_B[None, :], similarity_BxB, -jnp.inf)
    place_B = jnp.argmax(similarity_BxB, axis=1).astype(jnp.int32)
    value_B = jnp.max(similarity_BxB, axis=1)
    better_B = value_B > best_B
    return jnp.where(better_B, value_B, best_B), jnp.where(better_B, first + place_B, where_B)


@jax.jit
def _within(
    own_BxE: jax.Array, real: jax.Array, best_B: jax.Array, where_B: jax.Array, below: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The walk through one block, whose texts know what they are most like among the blocks before.

    Returns:
        for each text what it is most like among all kept (-1: it stays), whether that counts within
        this block, and the similarity.
    """
    similarity_BxB = _products(own_BxE, own_BxE)
    size = own_BxE.shape[0]
    positions_B = jnp.arange(size)

    def visit(row: jax.Array, kept_B: jax.Array) -> jax.Array:
        clash = jnp.any(kept_B & (positions_B < row) & (similarity_BxB[row] >= below))
        return kept_B.at[row].set(kept_B[row] & ~clash)

    start_B = (positions_B < real) & (best_B < below)
    kept_B = jax.lax.fori_loop(0, size, visit, start_B)
    eligible_BxB = kept_B[None, :] & (positions_B[None, :] < positions_B[:, None])
    masked_BxB = jnp.where(eligible_BxB, similarity_BxB, -jnp.inf)
    place_B = jnp.argmax(masked_BxB, axis=1).astype(jnp.int32)
    value_B = jnp.max(masked_BxB, axis=1)
    inside_B = value_B > best_B
    like_B = jnp.where(kept_B, -1, jnp.where(inside_B, place_B, where_B))
    return like_B, inside_B, jnp.maximum(value_B, best_B)


def _products(rows_BxE: jax.Array, columns_BxE: jax.Array) -> jax.Array:
    return jnp.matmul(rows_BxE, columns_BxE.T, precision=jax.lax.Precision.HIGHEST)
