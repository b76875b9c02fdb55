"""The contrastive objective: softmax losses over rows and columns of the concept logits."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.objectives.pairs import diagonal, matched
from jaxcbm.bottleneck.objectives.variants import check_variant


def contrastive(
    z: jax.Array, *, variant: str = "paired", positives: jax.Array | None = None
) -> jax.Array:
    """Contrastive objective on concept logits: mean of both directions.

    `released` and `paper`: the mean of -log softmax on the diagonal of the rectangular [B, D]
    logits, over rows and over columns; image i is paired with concept i by position, and images
    or concepts beyond the shorter side have no pair. `paired`: for each image, the mean of -log
    softmax over its positives, and for each concept over the images it belongs to; images and
    concepts without a positive contribute nothing.

    Args:
        z: concept logits [B, D].
        variant: `released`, `paper` or `paired`.
        positives: `paired` only: [B, D] in {0, 1} (non-negative weights work too).

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the contrastive CBL loss; several
    positives: Khosla et al. 2020 (arXiv 2004.11362), equation 2.

    >>> z = jnp.array([[5.0, 0.0], [0.0, 5.0]])
    >>> released = contrastive(z, variant="released")
    >>> bool(jnp.allclose(released, contrastive(z, positives=jnp.eye(2))))
    True
    """
    check_variant(variant)
    z = z.astype(jnp.float32)
    return matched(z, z, positives) if variant == "paired" else diagonal(z, z)
