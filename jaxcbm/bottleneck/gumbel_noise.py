"""Gumbel noise for both directions of an objective from one random word an entry."""

import jax
import jax.numpy as jnp

_HALF = 16


def gumbel_pair(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two independent float32 arrays of standard Gumbel noise, both of a shape.

    Drawing random words is most of what noise costs, and 16 bits are enough for it: each half of a
    32-bit word becomes one number. The values then end at -2.5 and 11.8, beyond which a Gumbel
    variable lies 8 times in a million.

    Reference: Gumbel 1954; inverse transform of the distribution function exp(-exp(-g)).

    >>> over_rows, over_columns = gumbel_pair(jax.random.key(0), (2, 3))
    >>> over_rows.shape, bool(jnp.any(over_rows == over_columns))
    ((2, 3), False)
    """
    words = jax.random.bits(key, shape, jnp.uint32)
    return _gumbel(words >> _HALF), _gumbel(words & jnp.uint32(2**_HALF - 1))


def _gumbel(halves: jax.Array) -> jax.Array:
    uniform = (halves.astype(jnp.float32) + 0.5) * 2.0**-_HALF
    return -jnp.log(-jnp.log(uniform))
