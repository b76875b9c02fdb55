"""Accuracy against the number of effective concepts (NEC), and its mean, ANEC."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.problem import matmul


class AccuracyAtNec(NamedTuple):
    """Accuracy against the number of effective concepts.

    Attributes:
        targets: NEC values, int32 [T].
        accuracies: fraction correct at each, float32 [T].
        anec: their mean, float32 [].
    """

    targets: jax.Array
    accuracies: jax.Array
    anec: jax.Array


@jax.jit
def accuracy_at(
    head_KxD: jax.Array,
    bias_K: jax.Array,
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    target: jax.Array | int,
) -> jax.Array:
    """Accuracy of a head that is truncated to a NEC by magnitude, float32 []."""
    truncated_KxD = truncate_to_nec(head_KxD, target)
    logits = matmul(activations_NxD.astype(jnp.float32), truncated_KxD.T)
    predicted = jnp.argmax(logits + bias_K[None, :], axis=1)
    return jnp.mean((predicted == labels_N).astype(jnp.float32))


@jax.jit
def measure_heads(
    weights_PxKxD: jax.Array, biases_PxK: jax.Array, rows_MxD: jax.Array, labels_M: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Accuracy and mean cross-entropy of every head, float32 [P] each."""

    def measure(head: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        weights_KxD, bias_K = head
        logits = jnp.matmul(rows_MxD, weights_KxD.T) + bias_K[None, :]
        hits_M = (jnp.argmax(logits, axis=1) == labels_M).astype(jnp.float32)
        own_M = jnp.take_along_axis(logits, labels_M[:, None], axis=1)[:, 0]
        return jnp.mean(hits_M), jnp.mean(jax.nn.logsumexp(logits, axis=1) - own_M)

    return jax.lax.map(measure, (weights_PxKxD, biases_PxK))


@jax.jit
def truncate_to_nec(head_KxD: jax.Array, k: jax.Array | int) -> jax.Array:
    """Zero all but the k * K weights of largest magnitude in the whole head, so that NEC <= k.

    The budget is shared: a class that needs more concepts than another may have them.

    Args:
        head_KxD: [K, D].
        k: target NEC; may be traced.

    Returns:
        [K, D]. Of equal magnitudes at the limit, the first are kept.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4.

    >>> truncate_to_nec(jnp.array([[3.0, -4.0], [1.0, 0.5]]), 1).tolist()
    [[3.0, -4.0], [0.0, 0.0]]
    """
    order = jnp.argsort(-jnp.abs(head_KxD).ravel(), stable=True)
    keep = jnp.arange(order.size) < jnp.asarray(k) * head_KxD.shape[0]
    mask = jnp.zeros(order.size, bool).at[order].set(keep).reshape(head_KxD.shape)
    return jnp.where(mask, head_KxD, jnp.zeros((), head_KxD.dtype))
