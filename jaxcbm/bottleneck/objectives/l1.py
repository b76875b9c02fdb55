"""The l1 objective: a penalty on the weights of the Concept Bottleneck Layer."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.objectives.variants import check_variant


def l1(W: jax.Array, penalty: jax.Array | float, *, variant: str = "paired") -> jax.Array:
    """penalty / D * sum |W|, with the subgradient 0 at 0 as torch has it (jax's abs has 1).

    All variants have this value. They differ in how it is minimised: `paper`, beside the
    cross-entropy of which it is a part, and `released` descend the subgradient, which never reaches
    a zero; `paired` takes proximal steps
    (`jaxcbm.bottleneck.proximal.soft_threshold` with rate * penalty / D) on the rest of the loss.

    Args:
        W: weights of the Concept Bottleneck Layer, [inputs, D] (or R of the residual layer).
        penalty: lambda >= 0. May be traced.
        variant: `paired`, `paper` or `released`.

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the l1 CBL loss.

    >>> float(l1(jnp.array([[1.0, -2.0], [0.0, 3.0]]), 0.5))
    1.5
    >>> jax.grad(l1)(jnp.array([[1.0, -2.0], [0.0, 3.0]]), 0.5).tolist()
    [[0.25, -0.25], [0.0, 0.25]]
    """
    check_variant(variant)
    W = W.astype(jnp.float32)
    magnitude = jnp.sum(W * jax.lax.stop_gradient(jnp.sign(W)))
    return jnp.asarray(penalty, jnp.float32) / W.shape[-1] * magnitude
