"""Zero-shot classification: the class whose name the encoder finds closest.

What departs from the published protocol, and why: three templates for every data set, where the
published ones are written for each (80 for ImageNet).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcbm.encoders.dual_encoder import DualEncoder

TEMPLATES = ("{}", "a photo of a {}", "a picture of a {}")


def class_embeddings(
    encoder: DualEncoder, classes: Sequence[str], templates: Sequence[str] = TEMPLATES
) -> jax.Array:
    """Mean of the unit-norm embeddings of each class name in every template, normalised again.

    Templates have one `{}` each; float32 [K, E].

    Reference: Radford et al. 2021 (arXiv 2103.00020), section 3.1.4.
    """
    prompts = [template.format(name) for name in classes for template in templates]
    each = jnp.asarray(encoder.embed_texts(prompts)).reshape(len(classes), len(templates), -1)
    mean_KxE = each.mean(axis=1)
    return mean_KxE / jnp.linalg.norm(mean_KxE, axis=1, keepdims=True)


def zero_shot(embeddings_NxE: jax.Array, classes_KxE: jax.Array) -> jax.Array:
    """Cosine of each image with each class, float32 [N, K]; the largest is the prediction.

    >>> zero_shot(jnp.eye(2), jnp.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.matmul(embeddings_NxE, classes_KxE.T)
