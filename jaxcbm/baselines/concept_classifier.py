"""Every concept model of the table as plain arrays, and its head at any number of concepts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.sparse.choice import SparseChoice, choose_sparse_head
from jaxcbm.bottleneck.sparse.corrected_copy import with_corrected_copy
from jaxcbm.bottleneck.sparse.packed import pack
from jaxcbm.bottleneck.sparse.path import SparsePath, nec
from jaxcbm.bottleneck.unit_scale import unit_scale
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError

# Probability below which a gate counts as closed.
CLOSED = 0.01


class ConceptClassifier(NamedTuple):
    """logits = head @ activations + head_bias (+ residual), activations affine in the embedding.

    All arrays are NumPy float32.

    Attributes:
        concept_kernel: [E, D].
        concept_bias: [D].
        head: F [K, D].
        head_bias: [K].
        phrases: what each of the D concepts says.
        gate_kernel: [E, D], with gate_bias: the log-odds that an image uses a concept. Activations
            are multiplied by that probability, and are exactly 0 below `CLOSED`. None: no gates.
        gate_bias: [D] or None.
        residual_kernel: [E, K], what a hybrid adds to the logits past the concepts, or None.
    """

    concept_kernel: np.ndarray
    concept_bias: np.ndarray
    head: np.ndarray
    head_bias: np.ndarray
    phrases: tuple[str, ...]
    gate_kernel: np.ndarray | None = None
    gate_bias: np.ndarray | None = None
    residual_kernel: np.ndarray | None = None


def bottleneck_only(
    concept_kernel: np.ndarray, concept_bias: np.ndarray, phrases: Sequence[str], num_classes: int
) -> ConceptClassifier:
    """Concepts whose head is still empty: every logit is 0.

    >>> bottleneck_only(np.eye(3), np.zeros(3), ["a", "b", "c"], 2).head.shape
    (2, 3)
    """
    kernel = np.asarray(concept_kernel, np.float32)
    head = np.zeros((num_classes, kernel.shape[1]), np.float32)
    bias = np.asarray(concept_bias, np.float32)
    return ConceptClassifier(kernel, bias, head, np.zeros(num_classes, np.float32), tuple(phrases))


def activations(model: ConceptClassifier, embeddings_NxE: np.ndarray) -> np.ndarray:
    """What the head reads: concept values, exactly 0 where a gate is closed, float32 [N, D].

    >>> model = bottleneck_only(np.eye(2), np.array([0.0, 1.0]), ["red", "blue"], 2)
    >>> gated = model._replace(gate_kernel=np.eye(2), gate_bias=np.array([-10.0, -0.5]))
    >>> activations(gated, np.array([[0.5, 0.5]])).tolist()
    [[0.0, 0.75]]
    """
    embeddings = np.asarray(embeddings_NxE, np.float32)
    values_NxD = embeddings @ model.concept_kernel + model.concept_bias
    if model.gate_kernel is None or model.gate_bias is None:
        return values_NxD
    return values_NxD * gate_values(embeddings @ model.gate_kernel + model.gate_bias)


def gate_values(logits_NxD: np.ndarray) -> np.ndarray:
    """The probability that a gate is open, 0 where it is below `CLOSED`.

    >>> gate_values(np.array([0.0, -10.0])).tolist()
    [0.5, 0.0]
    """
    open_NxD = 0.5 + 0.5 * np.tanh(0.5 * logits_NxD)
    return open_NxD * (open_NxD >= CLOSED)


def class_logits(model: ConceptClassifier, embeddings_NxE: np.ndarray) -> np.ndarray:
    """Class logits, float32 [N, K]; the largest is the prediction.

    >>> model = bottleneck_only(np.eye(2), np.zeros(2), ["red", "blue"], 2)
    >>> class_logits(model._replace(head=np.eye(2)), np.array([[0.5, 0.25]])).tolist()
    [[0.5, 0.25]]
    """
    embeddings = np.asarray(embeddings_NxE, np.float32)
    logits_NxK = activations(model, embeddings) @ model.head.T + model.head_bias
    if model.residual_kernel is not None:
        logits_NxK = logits_NxK + embeddings @ model.residual_kernel
    return logits_NxK


def labelled(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [N, E] and labels [N] of the images whose class is known.

    Raises:
        UserError: there is none.
    """
    part = _with_labels(features)
    return part.as_array(), np.asarray(part.labels, np.int32)


def _with_labels(features: Features) -> Features:
    known = np.flatnonzero(features.labels >= 0)
    if not len(known):
        raise UserError("none of the images has a label: give features whose classes are known")
    return features if len(known) == len(features) else features.select(known)


def standardised(model: ConceptClassifier, embeddings_NxE: np.ndarray) -> ConceptClassifier:
    """The same function, with activations of unit deviation (and, without gates, zero mean).

    One penalty then suits every concept, and weights compare across concepts. With gates the mean
    stays, because a closed gate must stay exactly 0.

    Args:
        model: any.
        embeddings_NxE: the images that the statistics come from.
    """
    mean_D, inverse_D = unit_scale(activations(model, embeddings_NxE))
    if model.gate_kernel is not None:
        mean_D = np.zeros_like(mean_D)
    return model._replace(
        concept_kernel=model.concept_kernel * inverse_D,
        concept_bias=(model.concept_bias - mean_D) * inverse_D,
        head=model.head / inverse_D,
        head_bias=model.head_bias + model.head @ mean_D,
    )


def with_sparse_path(
    model: ConceptClassifier,
    train: Features,
    valid: Features,
    *,
    intervened: float = 0.0,
    copy_weight: float = 0.5,
    **settings: Any,
) -> tuple[ConceptClassifier, SparseChoice]:
    """Give any concept model an elastic-net head, and keep the whole path for equal NEC.

    Activations are standardised on train, and that is folded into the concept layer.

    Args:
        model: its head is replaced and a residual is dropped; concepts and gates stay.
        train: what the path is solved on.
        valid: what the point on it is chosen on.
        intervened: share of a copy of the train activations that is set to what the annotations of
            the model's phrases say, for the path to be solved on as well (`with_corrected_copy`);
            0 leaves the copy out, as does data without annotations.
        copy_weight: of an image's copy, where the image itself has weight 1.
        settings: as for `choose_sparse_head`.

    Returns:
        (model with the chosen head, the path on its activations).

    Raises:
        UserError: no labelled image.

    Reference: Wong et al. 2021 (arXiv 2105.04857); Oikarinen et al. 2023 (arXiv 2304.06129).
    """
    train = _with_labels(train)
    train_NxE, train_labels = labelled(train)
    valid_MxE, valid_labels = labelled(valid)
    model = standardised(model._replace(residual_kernel=None), train_NxE)
    rows_NxD, labels_N, weights_N = with_corrected_copy(
        activations(model, train_NxE),
        train_labels,
        train.annotations_of(model.phrases) if intervened else None,
        share=intervened,
        copy_weight=copy_weight,
    )
    choice = choose_sparse_head(
        rows_NxD,
        labels_N,
        activations(model, valid_MxE),
        valid_labels,
        len(train.classes),
        weights=weights_N,
        **settings,
    )
    return model._replace(head=choice.head, head_bias=choice.bias), choice


def as_path_of_one(model: ConceptClassifier, valid: Features) -> SparseChoice:
    """A head without a path as a path of one point, for accuracy at numbers of effective concepts.

    Cut to a size it keeps its largest weights, in the model's own coordinates.

    Args:
        model: any; a residual is no part of the path.
        valid: for the validation accuracy.

    Reference: Srivastava et al. 2024 (arXiv 2408.01432), section 4, which measures LaBo so.

    >>> model = bottleneck_only(np.eye(2), np.zeros(2), ["red", "blue"], 2)
    >>> rows = Features.from_arrays(np.eye(2), [0, 1], ["robin", "jay"])
    >>> choice = as_path_of_one(model._replace(head=np.eye(2, dtype=np.float32)), rows)
    >>> choice.curve(rows.as_array(), rows.labels, targets=(1, 2)).accuracies.tolist()
    [1.0, 1.0]
    """
    rows_MxE, labels_M = labelled(valid)
    concept_only = model._replace(residual_kernel=None)
    top1 = np.mean(np.argmax(class_logits(concept_only, rows_MxE), axis=1) == labels_M)
    head_KxD, unknown = jnp.asarray(model.head), jnp.full(1, jnp.nan)
    path = SparsePath(
        lambdas=jnp.zeros(1),
        weights=head_KxD[None],
        biases=jnp.asarray(model.head_bias)[None],
        objective=unknown,
        certificate=unknown,
        iterations=jnp.zeros(1, jnp.int32),
        nec=nec(head_KxD)[None],
    )
    size = head_KxD.shape[1]
    return SparseChoice(
        head=model.head,
        bias=model.head_bias,
        path=pack(path),
        valid_top1=np.array([top1]),
        chosen=0,
        mean=np.zeros(size, np.float32),
        scale=np.ones(size, np.float32),
    )
