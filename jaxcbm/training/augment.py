"""Augmentation of pixels on the device."""

import jax
import jax.numpy as jnp


def augment(pixels_BxSxSx3: jax.Array, key: jax.Array, *, max_shift: int, flip: bool) -> jax.Array:
    """Shift each image by whole pixels (edges repeat) and mirror half of them."""
    batch, size = pixels_BxSxSx3.shape[:2]
    shift_key, flip_key = jax.random.split(key)
    if max_shift:
        shifts_Bx2 = jax.random.randint(shift_key, (batch, 2), -max_shift, max_shift + 1)
        where = jnp.arange(size)
        rows_BxS = jnp.clip(where[None, :] + shifts_Bx2[:, :1], 0, size - 1)
        columns_BxS = jnp.clip(where[None, :] + shifts_Bx2[:, 1:], 0, size - 1)
        move = jax.vmap(lambda image, rows, columns: image[rows][:, columns])
        pixels_BxSxSx3 = move(pixels_BxSxSx3, rows_BxS, columns_BxS)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, 0.5, (batch, 1, 1, 1))
        pixels_BxSxSx3 = jnp.where(mirrored, pixels_BxSxSx3[:, :, ::-1], pixels_BxSxSx3)
    return pixels_BxSxSx3
