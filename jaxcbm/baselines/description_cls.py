"""DescriptionCLS: the class whose own descriptions the image is, on average, most similar to."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxcbm.baselines.concept_classifier import ConceptClassifier
from jaxcbm.bottleneck.positives import class_positives, match_phrases
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError


def describing_concepts(classes_KxE: np.ndarray, concepts_DxE: np.ndarray, k: int) -> np.ndarray:
    """Which concepts describe a class where nobody says: the k whose texts are closest to it.

    Each concept's mean similarity over classes is subtracted first, so that a phrase which is close
    to every class describes none in particular.

    Args:
        classes_KxE: unit-norm text embeddings of the classes.
        concepts_DxE: unit-norm text embeddings of the concepts.
        k: concepts a class, at least 1.

    Returns:
        bool [K, D].

    >>> describing_concepts(np.eye(2), np.array([[1.0, 0.9], [0.6, 0.1], [0.0, 0.2]]), k=1).tolist()
    [[False, True, False], [False, False, True]]
    """
    similarity_KxD = np.asarray(classes_KxE, np.float32) @ np.asarray(concepts_DxE, np.float32).T
    return np.asarray(class_positives(jnp.asarray(similarity_KxD), k=k)) > 0


def annotated_descriptions(
    train: Features, phrases: Sequence[str], share: float = 0.5
) -> np.ndarray:
    """Which concepts describe a class where images are annotated: those that most of them show.

    Args:
        train: labelled, with annotations. Unknown ones do not count.
        phrases: D concepts; one that no annotation phrase equals describes no class.
        share: of a class's images with a known annotation, more than this must show the concept.

    Returns:
        bool [K, D].

    Raises:
        UserError: no annotations.

    >>> train = Features.from_arrays(
    ...     np.eye(3), [0, 0, 1], ["owl", "wren"],
    ...     annotations=np.array([[1.0], [1.0], [0.0]]), annotation_phrases=["big eyes"])
    >>> annotated_descriptions(train, ["fins", "big eyes"]).tolist()
    [[False, True], [False, False]]
    """
    if train.annotations is None:
        raise UserError("these images have no annotations: use describing_concepts on the texts")
    columns_D = match_phrases(phrases, train.annotation_phrases)
    own_KxN = train.labels[None, :] == np.arange(len(train.classes))[:, None]
    known_KxA = own_KxN.astype(np.float32) @ ~np.isnan(train.annotations)
    shown_KxA = own_KxN.astype(np.float32) @ (train.annotations > 0.5)
    frequent_KxA = shown_KxA > share * known_KxA
    return frequent_KxA[:, columns_D] & (columns_D >= 0)


def description_prompts(
    classes: Sequence[str], phrases: Sequence[str], describes_KxD: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray]:
    """One prompt for each pair of a class and a concept that describes it, as in the paper.

    Args:
        classes: K names.
        phrases: D concepts.
        describes_KxD: bool.

    Returns:
        (P prompts, bool [K, P]: the prompts of each class). Embed the prompts and hand both to
        `description_cls`: a description is then read in the context of its class.

    Reference: Menon and Vondrick 2023 (arXiv 2210.07183), section 3.

    >>> description_prompts(["owl"], ["big eyes", "fins"], np.array([[True, False]]))[0]
    ('owl, which has big eyes',)
    """
    pairs = np.argwhere(describes_KxD)
    prompts = tuple(f"{classes[k]}, which has {phrases[d]}" for k, d in pairs)
    return prompts, pairs[:, 0][None, :] == np.arange(len(classes))[:, None]


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
