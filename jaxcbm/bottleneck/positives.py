"""Which concepts belong to which image: the pairs that the `paired` objectives pull together.

A mask in {0, 1}, float32: from annotations, from the similarity of class and concept texts, or from
the image's own top scores. `positives_source` says which for a fit, `batch_positives` takes it.
Where annotations decide but say nothing, of a phrase or of one image, own scores do.
"""

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.samplers import top_k_mask
from jaxcbm.errors import UserError

if TYPE_CHECKING:
    from jaxcbm.bottleneck.config import BottleneckConfig

# In a table of annotations, uint8: neither absent (0) nor present (1).
UNKNOWN = 2


def positives_source(config: "BottleneckConfig", annotated: bool) -> str:
    """Where the positives of a fit come from.

    Args:
        config: of the bottleneck; its `positives` may be `auto`.
        annotated: whether the train images have annotations.

    Returns:
        `annotations`, `classes`, `scores`, or `none` where the objective needs none.

    Raises:
        UserError: annotations are asked for, and the data has none.
    """
    if not config.needs_positives:
        return "none"
    if config.positives == "annotations" and not annotated:
        raise UserError(
            "config.bottleneck.positives=annotations, but the images have none: use auto, "
            "classes or scores"
        )
    if config.positives == "auto":
        return "annotations" if annotated else "scores"
    return config.positives


def batch_positives(
    config: "BottleneckConfig",
    psi_BxD: jax.Array,
    labels_B: jax.Array,
    annotated_BxD: jax.Array | None = None,
    class_positives_KxD: jax.Array | None = None,
) -> jax.Array:
    """The concepts that belong to each image of a batch, from what a fit knows of them.

    From its own scores an image has its `positives_k` largest among all D phrases. Where it has
    annotations, only those of these that no annotation speaks of count: of U unknown phrases about
    `positives_k` U / D, as many as without annotations, and none that is not among its best.

    Args:
        config: of the bottleneck.
        psi_BxD: concept scores, for what is not known otherwise.
        labels_B: int [B].
        annotated_BxD: from annotations; they come first. Bool where all is known, else uint8 in
            {0, 1, `UNKNOWN`}.
        class_positives_KxD: from `class_positives`.

    Returns:
        float32 [B, D] in {0, 1}.
    """
    own = partial(from_scores, psi_BxD, k=min(config.positives_k, psi_BxD.shape[1]))
    if annotated_BxD is not None:
        if annotated_BxD.dtype == jnp.bool_:
            return annotated_BxD.astype(jnp.float32)
        return jnp.where(annotated_BxD == UNKNOWN, own(), annotated_BxD.astype(jnp.float32))
    if class_positives_KxD is not None:
        return class_positives_KxD[labels_B]
    return own()


def class_positives(class_concept_similarity_KxD: jax.Array, k: int) -> jax.Array:
    """The k concepts of each class whose texts are closest to it, float32 [K, D] in {0, 1}.

    Each concept's mean over classes is subtracted first, so that a phrase which is close to every
    class (a hub of the text space) is not everybody's positive.

    >>> class_positives(jnp.array([[0.9, 0.8], [0.9, 0.1]]), k=1).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    similarity_KxD = class_concept_similarity_KxD.astype(jnp.float32)
    if similarity_KxD.shape[0] > 1:
        similarity_KxD = similarity_KxD - similarity_KxD.mean(axis=0, keepdims=True)
    return top_k_mask(similarity_KxD, k)


def from_scores(psi_BxD: jax.Array, k: int) -> jax.Array:
    """Positives from the image's own k largest scores, float32 [B, D] in {0, 1}, k ones a row.

    The scores are best standardised per concept: raw ones share a large common part, and the same
    few phrases would win everywhere. No gradient flows through the choice; k >= D marks everything.

    >>> from_scores(jnp.array([[0.1, 2.0, 1.0]]), k=2).tolist()
    [[0.0, 1.0, 1.0]]
    """
    return top_k_mask(jax.lax.stop_gradient(psi_BxD), k)
