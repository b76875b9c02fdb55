"""Reading a decision concept by concept, and changing a concept by hand."""

import jax
import jax.numpy as jnp


def contributions(head_KxD: jax.Array, activations_D: jax.Array) -> jax.Array:
    """What each concept added to each class logit: F[k, d] a[d].

    Args:
        head_KxD: the head's weights F.
        activations_D: one image's concept activations a.

    Returns:
        [K, D]; its rows sum to the class logits, the bias apart.

    >>> contributions(jnp.array([[1.0, -2.0]]), jnp.array([3.0, 0.5])).tolist()
    [[3.0, -1.0]]
    """
    return head_KxD * activations_D[None, :]


def intervene(
    activations: jax.Array,
    indices: jax.Array | int,
    values: jax.Array | float,
) -> jax.Array:
    """Set concepts to given values, as an expert who looks at the image would.

    Args:
        activations: concept activations [..., D].
        indices: the concepts to set: an index, or int [M].
        values: their new values: a scalar, [M], or [..., M].

    Returns:
        Activations with those concepts replaced; the argument stays as it was.

    >>> intervene(jnp.array([0.2, 0.9, 0.4]), jnp.array([0, 2]), jnp.array([1.0, 0.0])).tolist()
    [1.0, 0.8999999761581421, 0.0]
    """
    indices = jnp.atleast_1d(jnp.asarray(indices))
    values = jnp.asarray(values, activations.dtype)
    shape = (*activations.shape[:-1], indices.size)
    return activations.at[..., indices].set(jnp.broadcast_to(values, shape))
