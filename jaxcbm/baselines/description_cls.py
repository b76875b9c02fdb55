"""DescriptionCLS: the class whose own descriptions the image is, on average, most similar to.

The prompt and the mean over a class's descriptions are the published code's. What departs from it,
and why:

* Descriptions come from the concept set. Where it knows which class each was asked for (as sets
  from a language model do) a class has its own, as published; else the phrases whose texts are
  closest to its name, chosen by the encoder itself.
* All phrases are joined by "which has", as phrases of a concept set name parts. The published code
  writes "which is" before what begins with "a" or "used", "which" before what begins with "has",
  "often", "typically", "may" or "can", and "which has" before the rest.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxcbm.baselines.concept_classifier import ConceptClassifier
from jaxcbm.bottleneck.positives import class_positives
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.errors import UserError


def own_descriptions(concepts: ConceptSet, classes: Sequence[str]) -> np.ndarray | None:
    """Which phrases each class was described by, bool [K, D], by their origins.

    None unless every class has one.

    >>> from jaxcbm.concepts.provenance import Candidate, Origin
    >>> candidates = [Candidate("red breast", Origin("a guide", class_name="Robin"))]
    >>> own_descriptions(ConceptSet.from_candidates(candidates), ["robin"]).tolist()
    [[True]]
    """
    rows = {name.casefold(): k for k, name in enumerate(classes)}
    describes = np.zeros((len(classes), len(concepts)), bool)
    for d, phrase in enumerate(concepts.phrases):
        for origin in concepts.origins.get(phrase, ()):
            if (k := rows.get(origin.class_name.casefold())) is not None:
                describes[k, d] = True
    return describes if describes.any(axis=1).all() else None


def description_prompts(
    classes: Sequence[str], phrases: Sequence[str], describes_KxD: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """A sentence for every class and each of its phrases, and whose it is, bool [K, sentences].

    >>> prompts, whose = description_prompts(["robin", "jay"], ["red breast"], np.ones((2, 1)))
    >>> prompts, whose.tolist()
    (['robin, which has red breast', 'jay, which has red breast'], [[True, False], [False, True]])
    """
    pairs = np.argwhere(np.asarray(describes_KxD, bool))
    prompts = [f"{classes[k]}, which has {phrases[d]}" for k, d in pairs]
    return prompts, pairs[:, 0] == np.arange(len(classes))[:, None]


def describing_concepts(classes_KxE: np.ndarray, concepts_DxE: np.ndarray, k: int) -> np.ndarray:
    """Which k concepts describe a class where nobody says, bool [K, D]: the texts closest to it.

    Each concept's mean similarity over classes is subtracted first, so that a phrase which is close
    to every class describes none in particular.

    >>> describing_concepts(np.eye(2), np.array([[1.0, 0.9], [0.6, 0.1], [0.0, 0.2]]), k=1).tolist()
    [[False, True, False], [False, False, True]]
    """
    similarity_KxD = np.asarray(classes_KxE, np.float32) @ np.asarray(concepts_DxE, np.float32).T
    return np.asarray(class_positives(jnp.asarray(similarity_KxD), k=k)) > 0


def description_cls(
    concepts_DxE: np.ndarray,
    phrases: Sequence[str],
    describes_KxD: np.ndarray,
    *,
    scale: float = 1.0,
) -> ConceptClassifier:
    """The mean similarity of an image to the descriptions of each class; nothing is trained.

    Args:
        concepts_DxE: unit-norm text embeddings of the descriptions.
        phrases: D texts.
        describes_KxD: bool, the descriptions of each class; they may be shared.
        scale: the encoder's logit scale; it changes no prediction, only confidences.

    Returns:
        A classifier whose head averages over each class's descriptions.

    Raises:
        UserError: a class without a description, or a matrix of another size.

    Reference: Menon and Vondrick 2023 (arXiv 2210.07183), equation 1.

    >>> model = description_cls(np.eye(3), ["a", "b", "c"], np.array([[1, 1, 0], [0, 0, 1]]))
    >>> model.head.tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    """
    describes = np.asarray(describes_KxD, bool)
    concepts = np.asarray(concepts_DxE, np.float32)
    if describes.shape[1] != len(concepts) or len(phrases) != len(concepts):
        raise UserError(
            f"{len(concepts)} concept embeddings, {len(phrases)} phrases and descriptions for "
            f"{describes.shape[1]}: give as many of each"
        )
    counts_K = describes.sum(axis=1)
    if not counts_K.all():
        missing = ", ".join(str(k) for k in np.flatnonzero(counts_K == 0)[:5])
        raise UserError(f"no concept describes class {missing}: give every class at least one")
    head = (scale * describes / counts_K[:, None]).astype(np.float32)
    biases = np.zeros(len(concepts), np.float32), np.zeros(len(head), np.float32)
    kernel = np.ascontiguousarray(concepts.T)
    return ConceptClassifier(kernel, biases[0], head, biases[1], tuple(phrases))
