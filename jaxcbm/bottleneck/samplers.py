"""Samplers between concept logits and head: pure functions, noisy in training, sparse.

Every sampler takes concept logits z [..., D] and a key. `key=None` is inference: deterministic.
Sums and exponentials run in float32 whatever the input type; results come back in the input's.
"""

import math

import jax
import jax.numpy as jnp


def identity(z: jax.Array) -> jax.Array:
    """The concept logits themselves.

    >>> identity(jnp.array([1.0, -2.0])).tolist()
    [1.0, -2.0]
    """
    return z


def sigmoid(z: jax.Array) -> jax.Array:
    """The probabilities whose log-odds are the concept logits, 0 to 1.

    A probability has an upper and a lower end: a concept that is plainly there adds no more for
    being plainer still, as a logit would.

    >>> sigmoid(jnp.array([0.0, 20.0])).tolist()
    [0.5, 1.0]
    """
    return jax.nn.sigmoid(z.astype(jnp.float32)).astype(z.dtype)


def gumbel_softmax(
    z: jax.Array,
    key: jax.Array | None = None,
    *,
    tau: jax.Array | float = 1.0,
    hard: bool = False,
) -> jax.Array:
    """A relaxed one-hot sample over concepts.

    Args:
        z: concept logits [..., D].
        key: of the Gumbel noise; None draws none (inference).
        tau: temperature > 0; a sample tends to one-hot as it falls. May be traced.
        hard: one-hot values with the relaxed sample's gradient (straight-through).

    Returns:
        [..., D], non-negative, each row sums to 1.

    Reference: Jang et al. 2017 (arXiv 1611.01144), equation 2; Maddison et al. 2017
    (arXiv 1611.00712).

    >>> gumbel_softmax(jnp.array([0.0, 3.0]), hard=True).tolist()
    [0.0, 1.0]
    >>> gumbel_softmax(jnp.array([0.0, 0.0]), tau=0.1).tolist()
    [0.5, 0.5]
    """
    perturbed = _perturb(z, key)
    # The maximum leaves before the division: a tiny tau then reaches -inf, which is a clean zero.
    top = jax.lax.stop_gradient(jnp.max(perturbed, axis=-1, keepdims=True))
    soft = jax.nn.softmax((perturbed - top) / _float32(tau), axis=-1)
    if hard:
        soft = _straight_through(top_k_mask(perturbed, 1), soft)
    return soft.astype(z.dtype)


def binary_concrete(
    z: jax.Array,
    key: jax.Array | None = None,
    *,
    tau: jax.Array | float = 0.5,
    prior: jax.Array | float = 0.1,
) -> tuple[jax.Array, jax.Array]:
    """Each image switches each concept on or off: a = z * mask, mask ~ Bernoulli(sigmoid(z)).

    In training the mask is a binary-concrete sample; at inference it is the Bernoulli's mode,
    so that a concept with z <= 0 adds exactly nothing.

    Args:
        z: concept logits [..., D].
        key: of the logistic noise; None takes the mode (inference).
        tau: temperature > 0. May be traced.
        prior: probability in (0, 1) that a concept is on, before the image is seen.

    Returns:
        (activations [..., D], kl float32 [...]): kl is KL(Bernoulli(sigmoid(z)) ||
        Bernoulli(prior)) in nats, summed over concepts.

    Reference: Maddison et al. 2017 (arXiv 1611.00712); a mask of concepts per image:
    Panousis et al. 2023 (arXiv 2308.10782).

    >>> activations, kl = binary_concrete(jnp.array([2.0, -1.0, 0.0]), prior=0.5)
    >>> activations.tolist(), bool(kl > 0)
    ([2.0, 0.0, 0.0], True)
    """
    logits = z.astype(jnp.float32)
    kl = _bernoulli_kl(logits, prior)
    if key is None:
        return jax.nn.relu(z), kl
    return (logits * relaxed_mask(logits, key, tau)).astype(z.dtype), kl


def relaxed_mask(logits: jax.Array, key: jax.Array, tau: jax.Array | float) -> jax.Array:
    """A binary-concrete sample of Bernoulli(sigmoid(logits)), float32 [..., D] in [0, 1]."""
    noise = jax.random.logistic(key, logits.shape, jnp.float32)
    return jax.nn.sigmoid((logits + noise) / _float32(tau))


def top_k(
    z: jax.Array,
    key: jax.Array | None = None,
    *,
    k: int,
    tau: jax.Array | float = 1.0,
) -> jax.Array:
    """Keep k concepts an image: a relaxed k-subset in training, exactly k at inference.

    Gumbel noise turns the k largest logits into a sample of k concepts without replacement. The
    relaxed subset sigmoid((z + g - theta) / tau), with theta such that it sums to k, is the
    entropy-regularised projection of the perturbed logits onto all k-subsets. Unlike k successive
    softmaxes it needs no memory that grows with k.

    Args:
        z: concept logits [..., D].
        key: of the Gumbel noise; None takes the k largest logits (inference).
        k: concepts to keep, static, >= 1; k >= D keeps all of them.
        tau: temperature > 0. May be traced.

    Returns:
        z * mask, [..., D].

    Reference: Xie and Ermon 2019 (arXiv 1901.10517) for the sampling; Amos et al. 2019
    (arXiv 1906.08707) for the projection.

    >>> top_k(jnp.array([3.0, -1.0, 2.0, 1.0]), k=2).tolist()
    [3.0, 0.0, 2.0, 0.0]
    """
    if k < 1:
        raise ValueError(f"top_k keeps at least one concept: k={k}")
    if k >= z.shape[-1]:
        return z
    if key is None:
        return jnp.where(top_k_mask(z, k) > 0, z, jnp.zeros((), z.dtype))
    mask = relaxed_top_k_mask(_perturb(z, key), k, tau)
    return (z.astype(jnp.float32) * mask).astype(z.dtype)


def top_k_mask(x: jax.Array, k: int) -> jax.Array:
    """1 at the k largest entries of each row and 0 elsewhere, float32; ties go to the lower index.

    k is static and at least 1; k >= D marks everything.

    >>> top_k_mask(jnp.array([[1.0, 5.0, 5.0], [3.0, 2.0, 1.0]]), 1).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if k >= x.shape[-1]:
        return jnp.ones(x.shape, jnp.float32)
    if k == 1:
        return jax.nn.one_hot(jnp.argmax(x, axis=-1), x.shape[-1], dtype=jnp.float32)
    _, indices = jax.lax.top_k(jax.lax.stop_gradient(x), k)
    # Row by row, as put_along_axis cannot be exported for batches of any size.
    mark = jax.vmap(lambda row: jnp.zeros(x.shape[-1], jnp.float32).at[row].set(1.0))
    return mark(indices.reshape(-1, indices.shape[-1])).reshape(x.shape)


def relaxed_top_k_mask(x: jax.Array, k: int, tau: jax.Array | float) -> jax.Array:
    """sigmoid((x - theta) / tau) with theta such that each row sums to k; differentiable, float32.

    k is static, 1 <= k < D; the temperature tau is above 0.

    Reference: Amos et al. 2019 (arXiv 1906.08707).

    >>> mask = relaxed_top_k_mask(jnp.array([3.0, 1.0, 0.0]), 2, tau=1.0)
    >>> round(float(mask.sum()), 4)
    2.0
    """
    depth = x.shape[-1]
    x, tau = x.astype(jnp.float32), _float32(tau)
    fixed, cold = jax.lax.stop_gradient((x, tau))
    largest, _ = jax.lax.top_k(fixed, k + 1)
    # At the upper end fewer than k entries are on, at the lower end more than k.
    low = largest[..., k:] - cold * math.log(k)
    high = largest[..., k - 1 : k] + cold * math.log(depth - k)

    def halve(_, bracket):
        low, high = bracket
        middle = 0.5 * (low + high)
        excess = jnp.sum(jax.nn.sigmoid((fixed - middle) / cold), axis=-1, keepdims=True) > k
        return jnp.where(excess, middle, low), jnp.where(excess, high, middle)

    low, high = jax.lax.fori_loop(0, 20, halve, (low, high))
    theta = 0.5 * (low + high)
    # One Newton step polishes theta, and its derivative is the implicit function theorem's.
    mask = jax.nn.sigmoid((x - theta) / tau)
    slope = jnp.sum(jax.lax.stop_gradient(mask * (1 - mask)) / cold, axis=-1, keepdims=True)
    steep = slope * cold > 1e-6
    excess = jnp.sum(mask, axis=-1, keepdims=True) - k
    theta = theta + jnp.where(steep, excess, 0.0) / jnp.where(steep, slope, 1.0)
    return jax.nn.sigmoid((x - theta) / tau)


def _float32(x: jax.Array | float) -> jax.Array:
    return jnp.asarray(x, jnp.float32)


def _perturb(z: jax.Array, key: jax.Array | None) -> jax.Array:
    z = z.astype(jnp.float32)
    return z if key is None else z + jax.random.gumbel(key, z.shape, jnp.float32)


def _straight_through(hard: jax.Array, soft: jax.Array) -> jax.Array:
    # The difference is exactly zero, so the value is exactly `hard`.
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))


def _bernoulli_kl(logits: jax.Array, prior: jax.Array | float) -> jax.Array:
    prior = jnp.clip(_float32(prior), 1e-6, 1 - 1e-6)
    on, off = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    kl = jnp.exp(on) * (on - jnp.log(prior)) + jnp.exp(off) * (off - jnp.log1p(-prior))
    return jnp.sum(kl, axis=-1)
