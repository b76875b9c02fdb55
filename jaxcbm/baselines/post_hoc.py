"""Post-hoc CBM: concept activation vectors, a sparse head on them, and the hybrid's residual.

What departs from the published code, and why:

* Vectors come from the data's own annotations; the published ones from Broden, or from CUB's. By
  `support_vectors` they are learned as published (its docstring has the rest); by `concept_vectors`
  they are logistic regressions on all images, which is more than the method had.
* Text vectors are the concept set's phrases; the published ones are ConceptNet's words for each
  class, for CIFAR alone.
* A path of elastic nets takes the place of scikit-learn's `SGDClassifier` at one penalty: it is
  certified, gives every number of concepts, and one softmax instead of one class against the rest.
* The residual is solved to convergence with its penalty chosen on validation; the published one
  takes 20 epochs of Adam at one given penalty.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from jaxcbm.baselines.concept_classifier import (
    ConceptClassifier,
    bottleneck_only,
    class_logits,
    labelled,
)
from jaxcbm.baselines.concept_vectors import ConceptVectors, concept_vectors
from jaxcbm.baselines.linear_probe import PENALTIES, logistic_loss
from jaxcbm.bottleneck.minimise import minimise_by_lbfgs
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError


def text_bottleneck(
    concepts_DxE: np.ndarray, phrases: Sequence[str], num_classes: int
) -> ConceptClassifier:
    """Text embeddings as concept vectors, with an empty head.

    An image's projection is its cosine with the phrase.

    Reference: Yuksekgonul et al. 2023 (arXiv 2205.15480), section 2.1, multimodal models.

    >>> text_bottleneck(np.eye(2), ["red", "blue"], 3).concept_kernel.shape
    (2, 2)
    """
    concepts = np.asarray(concepts_DxE, np.float32)
    bias = np.zeros(len(concepts), np.float32)
    return bottleneck_only(np.ascontiguousarray(concepts.T), bias, phrases, num_classes)


def learned_bottleneck(
    train: Features,
    valid: Features,
    learn: Callable[..., ConceptVectors] = concept_vectors,
) -> ConceptClassifier:
    """Concept vectors learned from annotated images; a value is the distance to the hyperplane.

    Args:
        train: with annotations. A concept that is not both present and absent here is left out.
        valid: with annotations; chooses each concept's penalty.
        learn: `concept_vectors`, logistic regressions on all images, or `support_vectors`, the
            published few pairs; takes embeddings and annotations of train and of valid.

    Returns:
        Concepts with an empty head, named by the annotation phrases.

    Raises:
        UserError: no annotations, or none that vary.

    Reference: Yuksekgonul et al. 2023 (arXiv 2205.15480), section 2.1, equation 1.
    """
    if train.annotations is None or valid.annotations is None:
        raise UserError(
            "learned concept vectors need annotated images, and this data has none: use text ones"
        )
    vectors = learn(train.as_array(), train.annotations, valid.as_array(), valid.annotations)
    if not len(vectors.columns):
        raise UserError("no annotation is present in some train images and absent in others")
    phrases = [train.annotation_phrases[column] for column in vectors.columns]
    return bottleneck_only(vectors.kernel, vectors.bias, phrases, len(train.classes))


def with_residual(
    model: ConceptClassifier,
    train: Features,
    valid: Features,
    penalties: Sequence[float] = PENALTIES,
) -> ConceptClassifier:
    """The hybrid: a linear layer on the embedding, fitted on top of the frozen model's logits.

    The problem is convex and starts from no residual, so that the train loss cannot rise; no
    residual at all is among the candidates, so that validation accuracy cannot fall.

    Args:
        model: with its head; it does not change.
        train: what the residual is fitted on.
        valid: what its l2 penalty is chosen on; of equals the strongest.
        penalties: l2 penalties to try.

    Returns:
        The model with `residual_kernel`, and the residual's bias added to `head_bias`.

    Raises:
        UserError: no labelled image.

    Reference: Yuksekgonul et al. 2023 (arXiv 2205.15480), section 2.3.
    """
    model = model._replace(residual_kernel=None)
    train_NxE, train_labels = labelled(train)
    valid_MxE, valid_labels = labelled(valid)
    mean_E, inverse_E = unit_scale(train_NxE)
    inputs, labels = jnp.asarray((train_NxE - mean_E) * inverse_E), jnp.asarray(train_labels)
    offsets = jnp.asarray(class_logits(model, train_NxE))
    shape = train_NxE.shape[1], len(model.head)
    params = {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[1])}

    def valid_top1(candidate: ConceptClassifier) -> float:
        return float(np.mean(np.argmax(class_logits(candidate, valid_MxE), axis=1) == valid_labels))

    best, best_top1 = model._replace(residual_kernel=np.zeros(shape, np.float32)), valid_top1(model)
    for penalty in sorted(penalties, reverse=True):
        data = inputs, labels, jnp.float32(penalty), offsets
        params = minimise_by_lbfgs(logistic_loss, params, data)
        kernel = np.asarray(params["kernel"]) * inverse_E[:, None]
        bias = model.head_bias + np.asarray(params["bias"]) - mean_E @ kernel
        candidate = model._replace(residual_kernel=kernel, head_bias=bias)
        if (top1 := valid_top1(candidate)) > best_top1:
            best, best_top1 = candidate, top1
    return best
