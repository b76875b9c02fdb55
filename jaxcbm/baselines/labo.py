"""LaBo: a few concepts chosen for each class, and a trained matrix of who uses which.

The score of a choice, the start of the matrix, the softmax over concepts, the scale of 100, batch
size, rate and number of epochs are the published code's. What departs from it, and why:

* Sentences come from the concept set. Where it knows which class each was asked for (as sets from a
  language model do) a class chooses among its own, as published; else among phrases near its name,
  which is no choice at all where half of a short set is at most as many as a class may have.
* Weights of the score hold for any number of concepts: the published ones, 1e7 and 0.1, suit the
  some 90,000 sentences of CUB-200, and differ from data set to data set.
* Coverage compares the sentences' embeddings alone; the published code appends the information
  score, which its weight makes the largest entry of every vector.
* The published rate suits long runs from a good start. Another one is tried as well, and the fit
  with the lower loss on validation kept; so is the epoch, which the published code chooses by
  accuracy.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcbm.baselines.concept_classifier import ConceptClassifier, labelled
from jaxcbm.baselines.concept_selection import greedy_selection, mutual_information
from jaxcbm.bottleneck.minimise import minimise_by_adam
from jaxcbm.data.features import Features

# The published rate of CUB-200 with all images, and one for short runs.
LEARNING_RATES = (5e-5, 3e-2)


def labo(
    train: Features,
    valid: Features,
    concepts_DxE: np.ndarray,
    phrases: Sequence[str],
    candidates_KxD: np.ndarray,
    *,
    concepts_a_class: int = 50,
    scale: float = 100.0,
    information_weight: float = 100.0,
    coverage_weight: float = 0.1,
    learning_rates: Sequence[float] = LEARNING_RATES,
    epochs: int = 5000,
    batch_size: int = 512,
    patience: int = 100,
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
        information_weight: alpha, of how much a concept tells about the class.
        coverage_weight: beta, of how well the chosen concepts stand for all candidates.
        learning_rates: of Adam; the one with the lowest validation loss is kept.
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
    scores_D = mutual_information(train_NxE, train_labels, concepts, len(train.classes))
    chosen_KxD = greedy_selection(
        scores_D,
        concepts,
        candidates_KxD,
        concepts_a_class,
        information_weight=information_weight,
        coverage_weight=coverage_weight,
    )
    used = np.flatnonzero(chosen_KxD.any(axis=0))
    fits = [
        minimise_by_adam(
            _loss,
            {"matrix": jnp.asarray(chosen_KxD[:, used], jnp.float32)},
            (train_NxE, train_labels),
            labelled(valid),
            context=(concepts[used], np.float32(scale)),
            learning_rates={"matrix": rate},
            rounds=epochs,
            batch_size=batch_size,
            patience=patience,
            seed=seed,
        )
        for rate in learning_rates
    ]
    fit = min(fits, key=lambda fit: fit.valid_losses[fit.best_round])
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
