"""The sigmoid objective: a yes or no for every pair of image and concept."""

import jax
import jax.numpy as jnp

# Where no pair is positive, or every one, the log-odds stop here.
_RARE = 1e-6


def sigmoid(z: jax.Array, *, positives: jax.Array, biased: bool = False) -> jax.Array:
    """Mean over all pairs of image and concept of the binary cross-entropy.

    The probability that concept d belongs to image b is sigmoid(z[b, d] + c[d]), where c[d] are
    the log-odds of how many images of the batch have concept d. The layer has no bias and its
    inputs are centred, so that logits lie around 0, where a sigmoid says one half, but most pairs
    are negative. c is a constant of the batch: it has no gradient and is no part of the model, so
    that z is what an image says beyond how common the concept is. The share of images is drawn
    towards that of all pairs by one image's worth, for concepts too rare to be in every batch.
    (What other biases do stands under `sigmoid` in docs/decisions.md.) Where the layer has a bias,
    the probability is sigmoid(z[b, d]) and each concept has a logistic regression of its own.

    Args:
        z: concept logits [B, D].
        positives: [B, D] in {0, 1} (or probabilities in between). No pair is left out: what
            annotations do not say, `jaxcbm.bottleneck.positives` has settled by the image's scores.
        biased: whether z holds a bias of each concept already.

    Returns:
        float32 scalar >= 0.

    Reference: Zhai et al. 2023 (arXiv 2303.15343), algorithm 1, with any number of positives. Its
    one learnt bias is c here; its learnt temperature is in the layer's weights.

    >>> z = jnp.array([[5.0, -5.0], [-5.0, 5.0]])
    >>> round(float(sigmoid(z, positives=jnp.eye(2))), 4)
    0.0067
    """
    z = z.astype(jnp.float32)
    y = positives.astype(jnp.float32)
    if biased:
        return _binary_cross_entropy(z, y)
    share_D = jnp.clip((jnp.sum(y, axis=0) + jnp.mean(y)) / (len(y) + 1), _RARE, 1.0 - _RARE)
    return _binary_cross_entropy(z + jax.scipy.special.logit(share_D)[None, :], y)


def _binary_cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    # -y log p - (1 - y) log(1 - p), where neither logarithm can overflow.
    return jnp.mean(jnp.mean(jax.nn.softplus(logits) - y * logits, axis=1))
