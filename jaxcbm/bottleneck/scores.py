"""Concept scores: what the frozen encoder itself says, and their standardisation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class InputMap(NamedTuple):
    """The affine map from image embeddings e(x) to what the Concept Bottleneck Layer reads.

    `inputs = e @ kernel + bias`. It folds the encoder's scale and bias, the concept embeddings
    and, unless raw scores are asked for, their standardisation on the train split.

    Attributes:
        kernel: float32 [E, D] (or [E, E] for the factored layer; None: the identity).
        bias: float32 [D] (or [E]).
    """

    kernel: jax.Array | None
    bias: jax.Array


def concept_scores(
    embeddings_NxE: jax.Array, concepts_DxE: jax.Array, scale: float, bias: float = 0.0
) -> jax.Array:
    """The encoder's own image-concept logits psi(x) = s C e(x) + b, float32 [N, D].

    CLIP's scale s is about 100 and its bias b 0; SigLIP has both.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), section 3.

    >>> concept_scores(jnp.eye(2), jnp.eye(2), scale=10.0).tolist()
    [[10.0, 0.0], [0.0, 10.0]]
    """
    return scale * jnp.matmul(embeddings_NxE, concepts_DxE.T) + bias


def embedding_moments(embeddings_NxE: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean float32 [E] and covariance float32 [E, E] of embeddings."""
    embeddings = embeddings_NxE.astype(jnp.float32)
    mean_E = embeddings.mean(axis=0)
    centred = embeddings - mean_E[None, :]
    # Deviations come from it: accelerators would round the factors to bfloat16.
    products_ExE = jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST)
    return mean_E, products_ExE / embeddings.shape[0]


def statistics_of_moments(
    mean_E: jax.Array,
    covariance_ExE: jax.Array,
    concepts_DxE: jax.Array,
    scale: float,
    bias: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation [D] over images of every concept score, without forming [N, D].

    The scores are linear in the embedding, so both follow from the mean and the covariance of the
    embeddings (`embedding_moments`): N x E x E work instead of N x E x D.

    >>> moments = embedding_moments(jnp.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> mean, std = statistics_of_moments(*moments, jnp.eye(2), scale=2.0)
    >>> mean.tolist(), std.tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    variance_D = jnp.sum(jnp.matmul(concepts_DxE, covariance_ExE) * concepts_DxE, axis=1)
    mean_D = scale * jnp.matmul(concepts_DxE, mean_E) + bias
    return mean_D, scale * jnp.sqrt(jnp.maximum(variance_D, 0.0))


def standardised_map(
    concepts_DxE: jax.Array, mean_D: jax.Array, std_D: jax.Array, scale: float, bias: float = 0.0
) -> InputMap:
    """The map from e(x) to scores with zero mean and unit deviation per concept.

    A concept whose score hardly moves over the train split (a thousandth of the typical deviation)
    is dead: it is centred but not blown up.
    """
    floor = 1e-3 * jnp.median(std_D) + 1e-6
    inverse_D = 1.0 / jnp.maximum(std_D, floor)
    return InputMap(
        kernel=(scale * inverse_D)[None, :] * concepts_DxE.T, bias=(bias - mean_D) * inverse_D
    )


def raw_map(concepts_DxE: jax.Array, scale: float, bias: float = 0.0) -> InputMap:
    """The map from e(x) to the raw scores, as the released code feeds them."""
    return InputMap(kernel=scale * concepts_DxE.T, bias=jnp.full(concepts_DxE.shape[0], bias))


def apply_map(mapping: InputMap, embeddings_NxE: jax.Array) -> jax.Array:
    """inputs = e @ kernel + bias (kernel None: the identity)."""
    embeddings = embeddings_NxE.astype(jnp.float32)
    moved = embeddings if mapping.kernel is None else jnp.matmul(embeddings, mapping.kernel)
    return moved + mapping.bias[None, :]
