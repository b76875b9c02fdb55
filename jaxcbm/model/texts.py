"""What the encoder says about words: phrases and class names with their embeddings."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.encoders.dual_encoder import DualEncoder


class Texts(NamedTuple):
    """All that a fit reads of an encoder beside image embeddings.

    Attributes:
        phrases: D phrases.
        classes: K class names.
        concepts_DxE: unit-norm embeddings of the phrases, float32.
        classes_KxE: unit-norm embeddings of the class names, float32.
        scale: the encoder's logit scale.
        bias: the encoder's logit bias.
    """

    phrases: tuple[str, ...]
    classes: tuple[str, ...]
    concepts_DxE: Any
    classes_KxE: Any
    scale: float
    bias: float = 0.0


def embed_words(encoder: DualEncoder, concepts: ConceptSet, classes: tuple[str, ...]) -> Texts:
    """Embed the phrases of a concept set and the names of the classes."""
    concepts_DxE, classes_KxE = (
        jnp.asarray(encoder.embed_texts(list(words))) for words in (concepts.phrases, classes)
    )
    scale, bias = encoder.logit_scale, encoder.logit_bias
    return Texts(concepts.phrases, classes, concepts_DxE, classes_KxE, scale, bias)
