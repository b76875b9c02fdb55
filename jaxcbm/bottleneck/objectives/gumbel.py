"""The Gumbel objective: contrastive, on perturbed logits at an annealed temperature."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.gumbel_noise import gumbel_pair
from jaxcbm.bottleneck.objectives.pairs import by_position, diagonal, matched
from jaxcbm.bottleneck.objectives.variants import check_variant

# The logarithm of a product that is not positive is that of this one.
_LEAST_PRODUCT = 1e-6


def gumbel(
    z: jax.Array,
    key: jax.Array | None = None,
    *,
    tau: jax.Array | float = 1.0,
    variant: str = "paired",
    noise: tuple[jax.Array, jax.Array] | None = None,
    positives: jax.Array | None = None,
) -> jax.Array:
    """Contrastive objective on Gumbel-perturbed logits (z + g) / tau, in the log domain.

    `paired` and `diagonal`: as in `contrastive`. `released`: the mean of -log softmax over *all*
    entries, not over pairs: a pull of the activations towards uniform. (Its `hard` switch takes the
    log of zeros and is left out.) Computed from log-sum-exps, it stays finite where the logarithm
    of a sampled softmax overflows.

    `paper`: `contrastive`'s equation with (log(alpha <w_k, phi_j>) + g_j) / tau in place of
    alpha <w_k, phi_j>. It leaves three things open. The logarithm asks for positive products, which
    nothing grants: one below 1e-6 counts as 1e-6, and has no gradient. Each softmax draws its own
    noise, as in Jang et al., so that g differs between k as well. And alpha adds the same number to
    all logits of a softmax, so that it does not matter here.

    Args:
        z: concept logits [B, D].
        key: of the Gumbel noise; each direction draws its own. None, with no noise given: no
            noise, so that a validation loss is deterministic.
        tau: temperature > 0. May be traced.
        variant: `paired`, `paper`, `diagonal` or `released`.
        noise: (over_rows, over_columns), each [B, D] (`paper`: of the square of pairs, [min(B, D),
            min(B, D)]), in place of drawn noise: the first is added before the softmax that
            normalises each row (over concepts, axis 1), the second before the one that normalises
            each column (over the batch, axis 0).
        positives: as in `contrastive`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the Gumbel CBL loss; Jang et al. 2017
    (arXiv 1611.01144), equation 2.

    >>> from jaxcbm.bottleneck.objectives.contrastive import contrastive
    >>> z = jnp.array([[5.0, 0.0], [0.0, 5.0]])
    >>> quiet = gumbel(z, positives=jnp.eye(2), noise=(jnp.zeros((2, 2)), jnp.zeros((2, 2))))
    >>> bool(jnp.allclose(quiet, contrastive(z, positives=jnp.eye(2))))
    True
    """
    check_variant(variant)
    z = z.astype(jnp.float32)
    if variant == "paper":
        z = jnp.log(jnp.maximum(by_position(z), _LEAST_PRODUCT))
    if noise is None and key is not None:
        noise = gumbel_pair(key, z.shape)
    inverse_tau = 1.0 / jnp.asarray(tau, jnp.float32)
    if noise is None:
        over_rows = over_columns = z * inverse_tau
    else:
        over_rows, over_columns = (
            (z + direction.astype(jnp.float32)) * inverse_tau for direction in noise
        )
    if variant == "released":
        return _every_entry(over_rows, over_columns)
    if variant == "paired":
        return matched(over_rows, over_columns, positives)
    return diagonal(over_rows, over_columns)


def _every_entry(over_rows: jax.Array, over_columns: jax.Array) -> jax.Array:
    """Both directions of -log softmax averaged over all entries: mean lse minus mean logit."""
    lse_rows = jax.nn.logsumexp(over_rows, axis=1)
    lse_columns = jax.nn.logsumexp(over_columns, axis=0)
    rows = jnp.mean(lse_rows - jnp.mean(over_rows, axis=1))
    columns = jnp.mean(lse_columns) - jnp.mean(jnp.mean(over_columns, axis=1))
    return 0.5 * (rows + columns)
