"""LaBo: a few concepts chosen for each class, and a trained matrix of who uses which."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcbm.baselines.concept_classifier import ConceptClassifier, labelled
from jaxcbm.baselines.concept_selection import discriminability, greedy_selection
from jaxcbm.bottleneck.minimise import minimise_by_adam
from jaxcbm.data.features import Features


def labo(
    train: Features,
    valid: Features,
    concepts_DxE: np.ndarray,
    phrases: Sequence[str],
    candidates_KxD: np.ndarray,
    *,
    concepts_a_class: int = 50,
    scale: float = 100.0,
    discriminability_weight: float = 1.0,
    coverage_weight: float = 1.0,
    learning_rate: float = 0.03,
    epochs: int = 500,
    batch_size: int = 512,
    patience: int = 20,
    seed: int = 0,
) -> ConceptClassifier:
    """Choose concepts by a submodular score, then train the class-concept matrix.

    The matrix starts with 1 where a concept was chosen for a class and 0 elsewhere; a softmax over
    concepts turns each row into weights, so that a class is a convex mixture of concepts.

    Args:
        train: what concepts are chosen and the matrix is trained on.
        valid: what the epoch is chosen on.
        concepts_DxE: unit-norm text embeddings of all candidates.
        phrases: D texts.
        candidates_KxD: bool, the concepts each class may choose from.
        concepts_a_class: chosen for each class; fewer where it has fewer candidates.
        scale: the encoder's logit scale.
        discriminability_weight: alpha, of how few classes a concept speaks for.
        coverage_weight: beta, of how well the chosen concepts stand for all candidates.
        learning_rate: of Adam.
        epochs: at most.
        batch_size: images a step.
        patience: stop after so many epochs without a lower validation loss.
        seed: of the order of images.

    Returns:
        A classifier over the concepts that some class chose. Its head is dense: a softmax has no
        zeros.

    Raises:
        UserError: no labelled image, or a class without candidates.

    Reference: Yang et al. 2023 (arXiv 2211.11158), sections 3.2 to 3.4.
    """
    train_NxE, train_labels = labelled(train)
    concepts = np.asarray(concepts_DxE, np.float32)
    scores_D = discriminability(train_NxE, train_labels, concepts, len(train.classes), scale)
    chosen_KxD = greedy_selection(
        scores_D,
        concepts,
        candidates_KxD,
        concepts_a_class,
        discriminability_weight=discriminability_weight,
        coverage_weight=coverage_weight,
    )
    used = np.flatnonzero(chosen_KxD.any(axis=0))
    fit = minimise_by_adam(
        _loss,
        {"matrix": jnp.asarray(chosen_KxD[:, used], jnp.float32)},
        (train_NxE, train_labels),
        labelled(valid),
        context=(concepts[used], np.float32(scale)),
        learning_rates={"matrix": learning_rate},
        rounds=epochs,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
    )
    head = scale * np.asarray(jax.nn.softmax(jnp.asarray(fit.params["matrix"]), axis=1))
    return ConceptClassifier(
        concept_kernel=np.ascontiguousarray(concepts[used].T),
        concept_bias=np.zeros(len(used), np.float32),
        head=head,
        head_bias=np.zeros(len(head), np.float32),
        phrases=tuple(phrases[d] for d in used.tolist()),
    )


def _loss(params: dict, batch: tuple, context: tuple, key: jax.Array | None) -> jax.Array:
    (embeddings_BxE, labels_B), (concepts_DxE, scale) = batch, context
    # The concepts fold into one embedding a class, and [B, D] never exists.
    classes_KxE = jnp.matmul(jax.nn.softmax(params["matrix"], axis=1), concepts_DxE)
    logits_BxK = scale * jnp.matmul(embeddings_BxE, classes_KxE.T)
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits_BxK, labels_B).mean()
