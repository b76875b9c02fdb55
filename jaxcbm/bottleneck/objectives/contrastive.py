"""The contrastive objective: softmax losses over rows and columns of the concept logits."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.objectives.pairs import by_position, diagonal, matched
from jaxcbm.bottleneck.objectives.variants import check_variant


def contrastive(
    z: jax.Array, *, variant: str = "paired", positives: jax.Array | None = None
) -> jax.Array:
    """Contrastive objective on concept logits: mean of both directions.

    `paired`: for each image, the mean of -log softmax over its positives, and for each concept over
    the images it belongs to; images and concepts without a positive contribute nothing.
    `diagonal` and `released`: the mean of -log softmax on the diagonal of the rectangular [B, D]
    logits, over rows and over columns; image i is paired with concept i by position, and images
    or concepts beyond the shorter side have no pair.

    `paper`: with w_k the weights of concept k and phi_k the scores of image k,

        -1 / (2 B) sum_k (log(exp(alpha <w_k, phi_k>) / sum_j exp(alpha <w_k, phi_j>))
                          + log(exp(alpha <w_k, phi_k>) / sum_j exp(alpha <w_j, phi_k>)))

    where k and j run over the batch. So image k is paired with concept k, and the first B concepts
    alone are trained; where there are fewer concepts than images, the images beyond them are left
    out, and B is D. alpha is the encoder's logit scale, which raw scores carry: z[j, k] is
    alpha <w_k, phi_j>.

    Args:
        z: concept logits [B, D].
        variant: `paired`, `paper`, `diagonal` or `released`.
        positives: `paired` only: [B, D] in {0, 1} (non-negative weights work too).

    Returns:
        float32 scalar.

    Raises:
        ValueError: an unknown variant.

    Reference: Semenov et al. 2024 (arXiv 2404.03323), the contrastive CBL loss; several
    positives: Khosla et al. 2020 (arXiv 2004.11362), equation 2.

    >>> z = jnp.array([[5.0, 0.0], [0.0, 5.0]])
    >>> paper = contrastive(z, variant="paper")
    >>> bool(jnp.allclose(paper, contrastive(z, positives=jnp.eye(2))))
    True
    """
    check_variant(variant)
    z = z.astype(jnp.float32)
    if variant == "paired":
        return matched(z, z, positives)
    if variant == "paper":
        z = by_position(z)
    return diagonal(z, z)
