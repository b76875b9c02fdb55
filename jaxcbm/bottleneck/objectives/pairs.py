"""What objectives on pairs of image and concept share: positives, padding, softmax losses."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.positives import from_scores

# Stands for "not in this batch": exp(_ABSENT - max) is 0, and 0 * _ABSENT is 0, not NaN.
_ABSENT = -1e30
# Without positives, an image's own top logits take their place: so many of them.
_OWN_POSITIVES = 8


def present(z: jax.Array, where: jax.Array | None) -> jax.Array:
    """Concept logits float32 [B, D], with the padding where no softmax sees it."""
    z = z.astype(jnp.float32)
    return z if where is None else jnp.where(where[:, None] != 0, z, _ABSENT)


def positives_of(z: jax.Array, positives: jax.Array | None, where: jax.Array | None) -> jax.Array:
    """The given positives [B, D], or each image's largest logits; none where there is padding."""
    if positives is None:
        positives = from_scores(z, _OWN_POSITIVES)
    if where is None:
        return positives
    return jnp.where(where[:, None] != 0, positives, jnp.zeros((), positives.dtype))


def diagonal(over_rows: jax.Array, over_columns: jax.Array, where: jax.Array | None) -> jax.Array:
    """Both directions of -log softmax at entries (i, i); only rows and columns that have one."""
    pairs = min(over_rows.shape)
    lse_rows = jax.nn.logsumexp(over_rows[:pairs], axis=1)
    lse_columns = jax.nn.logsumexp(over_columns[:, :pairs], axis=0)
    losses = (lse_rows - jnp.diagonal(over_rows)) + (lse_columns - jnp.diagonal(over_columns))
    return 0.5 * mean_where(losses, None if where is None else where[:pairs])


def matched(
    over_rows: jax.Array,
    over_columns: jax.Array,
    positives: jax.Array,
    where: jax.Array | None,
) -> jax.Array:
    """Both directions of the mean of -log softmax over positives."""
    positives = positives.astype(jnp.float32)

    def direction(logits: jax.Array, axis: int) -> jax.Array:
        count = jnp.sum(positives, axis=axis)
        has_any = (count > 0).astype(jnp.float32)
        at_positives = jnp.sum(positives * logits, axis=axis) / jnp.where(count > 0, count, 1.0)
        return mean_where(jax.nn.logsumexp(logits, axis=axis) - at_positives, has_any)

    return 0.5 * (direction(over_rows, 1) + direction(over_columns, 0))


def mean_where(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """Mean of the entries of a vector that count; 0 where none does."""
    if where is None:
        return jnp.mean(x)
    weights = (where != 0).astype(jnp.float32)
    return jnp.sum(weights * x) / jnp.maximum(jnp.sum(weights), 1.0)
