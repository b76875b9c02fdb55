"""Proximal operators: the steps that make a penalty's zeros exact."""

import jax
import jax.numpy as jnp


def soft_threshold(x: jax.Array, threshold: jax.Array | float) -> jax.Array:
    """The proximal operator of `threshold * |x|`: shrink towards zero, and stop there.

    Entries with |x| <= threshold become exactly 0; the threshold is a scalar or an array of x's
    rank.

    Reference: Parikh and Boyd, Proximal Algorithms (2014), section 6.5.2.

    >>> soft_threshold(jnp.array([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    threshold = jnp.asarray(threshold, x.dtype)
    # Unlike sign(x) * max(|x| - t, 0), this never makes a negative zero.
    return jnp.maximum(x - threshold, 0) + jnp.minimum(x + threshold, 0)
