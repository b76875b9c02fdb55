"""The softmax losses that objectives on pairs of image and concept share."""

import jax
import jax.numpy as jnp


def by_position(z: jax.Array) -> jax.Array:
    """The square of images and concepts that a batch pairs by position, [min(B, D), min(B, D)]."""
    pairs = min(z.shape)
    return z[:pairs, :pairs]


def diagonal(over_rows: jax.Array, over_columns: jax.Array) -> jax.Array:
    """Both directions of -log softmax at entries (i, i); only rows and columns that have one."""
    pairs = min(over_rows.shape)
    lse_rows = jax.nn.logsumexp(over_rows[:pairs], axis=1)
    lse_columns = jax.nn.logsumexp(over_columns[:, :pairs], axis=0)
    losses = (lse_rows - jnp.diagonal(over_rows)) + (lse_columns - jnp.diagonal(over_columns))
    return 0.5 * jnp.mean(losses)


def matched(
    over_rows: jax.Array, over_columns: jax.Array, positives: jax.Array | None
) -> jax.Array:
    """Both directions of the mean of -log softmax over positives; 0 where there are none."""
    assert positives is not None, "paired objectives need positives"
    positives = positives.astype(jnp.float32)

    def direction(logits: jax.Array, axis: int) -> jax.Array:
        count = jnp.sum(positives, axis=axis)
        has_any = (count > 0).astype(jnp.float32)
        at_positives = jnp.sum(positives * logits, axis=axis) / jnp.where(count > 0, count, 1.0)
        losses = has_any * (jax.nn.logsumexp(logits, axis=axis) - at_positives)
        return jnp.sum(losses) / jnp.maximum(jnp.sum(has_any), 1.0)

    return 0.5 * (direction(over_rows, 1) + direction(over_columns, 0))
