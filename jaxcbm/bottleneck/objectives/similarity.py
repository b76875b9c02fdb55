"""The similarity objective: concept logits that go with the encoder's own scores."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.objectives.variants import check_variant


def similarity(
    psi: jax.Array, z: jax.Array, *, cubed: bool = False, variant: str = "paired"
) -> jax.Array:
    """Minus the mean over concepts of the cosine between batch-centred columns of psi and z.

    `released` divides by the norms as they are: a column that does not vary over the batch, as in
    a batch of one, gives NaN. `paired`: such a column has cosine 0 and no gradient, and a column's
    scale cannot overflow or underflow the cubes.

    Args:
        psi: the encoder's concept scores [B, D].
        z: concept logits [B, D].
        cubed: cube the centred columns first, which stresses the strongest images.
        variant: `paired` or `released`.

    Returns:
        float32 scalar in [-1, 1].

    Raises:
        ValueError: an unknown variant.

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129); Semenov et al. 2024
    (arXiv 2404.03323).

    >>> psi = jnp.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> round(float(similarity(psi, 3.0 * psi)), 5)
    -1.0
    >>> float(similarity(psi[:1], psi[:1]))
    -0.0
    """
    check_variant(variant)
    psi, z = psi.astype(jnp.float32), z.astype(jnp.float32)
    prepare = _centred if variant == "released" else _unit_spread
    psi, z = prepare(psi), prepare(z)
    if cubed:
        psi, z = psi * psi * psi, z * z * z
    norms_D = jnp.sum(psi * psi, axis=0), jnp.sum(z * z, axis=0)
    products_D = jnp.sum(psi * z, axis=0)
    if variant != "released":
        # After scaling, a column has spread 1 or is 0: nothing lies between.
        alive_D = (norms_D[0] > 0) & (norms_D[1] > 0)
        norms_D = tuple(jnp.where(alive_D, norm_D, 1.0) for norm_D in norms_D)
    return -jnp.mean(products_D / (jnp.sqrt(norms_D[0]) * jnp.sqrt(norms_D[1])))


def _centred(x: jax.Array) -> jax.Array:
    return x - jnp.mean(x, axis=0, keepdims=True)


def _unit_spread(x: jax.Array) -> jax.Array:
    """Centred columns over their deviation, and exactly 0 where only rounding is left.

    The cosine does not depend on the scale, so that no gradient needs to flow through it.
    """
    centred = _centred(x)
    spread_D = jnp.sqrt(jnp.mean(jax.lax.stop_gradient(centred) ** 2, axis=0))
    # Any entry tells how large the column is that centring had to round.
    size_D = jnp.abs(jax.lax.stop_gradient(x[0])) + spread_D
    alive_D = spread_D > 32 * jnp.finfo(jnp.float32).eps * size_D
    return centred * jnp.where(alive_D, 1.0 / jnp.where(alive_D, spread_D, 1.0), 0.0)[None, :]
