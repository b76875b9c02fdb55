"""Accuracy against the number of effective concepts (NEC), and its mean, ANEC."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.path import SparsePath
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


@partial(jax.jit, static_argnames="targets")
def nec_curve(
    path: SparsePath,
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    targets: Sequence[int] = (5, 10, 15, 20, 25, 30),
) -> AccuracyAtNec:
    """Accuracy at each target NEC, and their mean (ANEC).

    For each target: the first model of the path with at least that NEC (else the last one),
    truncated to it by magnitude. On a fine path that model is hardly larger than the target.

    Args:
        path: from `elastic_net_path`, fitted on other data than this.
        activations_NxD: [N, D].
        labels_N: int [N].
        targets: NEC values; a tuple under jit.

    Returns:
        AccuracyAtNec.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4.

    >>> from jaxcbm.bottleneck.sparse.path import elastic_net_path
    >>> activations = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> labels = jnp.array([0, 0, 1, 1])
    >>> path = elastic_net_path(activations, labels, 2, path_length=3)
    >>> float(nec_curve(path, activations, labels, targets=(1, 2)).anec)
    1.0
    """
    targets_T = jnp.asarray(targets, jnp.int32)

    def accuracy(target: jax.Array) -> jax.Array:
        reached = path.nec >= target.astype(jnp.float32)
        chosen = jnp.where(jnp.any(reached), jnp.argmax(reached), path.nec.size - 1)
        head = path.weights[chosen], path.biases[chosen]
        return accuracy_at(*head, activations_NxD, labels_N, target)

    accuracies_T = jax.lax.map(accuracy, targets_T)
    return AccuracyAtNec(targets_T, accuracies_T, jnp.mean(accuracies_T))


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
