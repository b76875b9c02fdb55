"""Metrics over a whole split, as plain functions of arrays."""

from typing import Any

import numpy as np


def top_k_accuracy(logits_NxK: np.ndarray, labels_N: np.ndarray, k: int = 1) -> float:
    """Share of images whose label is among the k highest logits; ties count against the model.

    >>> top_k_accuracy(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([0, 0]))
    0.5
    """
    own_N = logits_NxK[np.arange(len(labels_N)), labels_N]
    above_N = np.sum(logits_NxK >= own_N[:, None], axis=1) - 1
    return float(np.mean(above_N < k))


def confusion_matrix(labels_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """Counts int64 [K, K]: rows are true classes, columns predicted ones."""
    flat = np.bincount(labels_N.astype(np.int64) * classes + predicted_N, minlength=classes**2)
    return flat.reshape(classes, classes)


def precision_recall_f1(confusion_KxK: np.ndarray) -> dict[str, float]:
    """Macro and weighted precision, recall and F1 over the whole split.

    Classes without a single image in the split are left out; a class that is never predicted has
    precision 0.

    >>> precision_recall_f1(np.array([[1, 1], [0, 2]]))["macro_recall"]
    0.75
    """
    hits_K = np.diag(confusion_KxK).astype(float)
    support_K, predicted_K = confusion_KxK.sum(axis=1), confusion_KxK.sum(axis=0)
    present = support_K > 0
    precision = np.divide(hits_K, predicted_K, out=np.zeros_like(hits_K), where=predicted_K > 0)
    recall = np.divide(hits_K, support_K, out=np.zeros_like(hits_K), where=present)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(hits_K), where=total > 0)
    result = {}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        result[f"macro_{name}"] = float(values[present].mean())
        result[f"weighted_{name}"] = float(np.average(values, weights=support_K))
    return result


def ranks(values_N: np.ndarray) -> np.ndarray:
    """Ranks from 1 to N; equal values share their mean rank."""
    _, inverse, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def concept_auc(scores_NxD: np.ndarray, present_NxD: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every concept over images (Mann-Whitney), float64 [D].

    Presence is 1, 0, or NaN where unknown. NaN for a concept that is in all or in none of the known
    images.

    >>> concept_auc(np.array([[0.1], [0.9]]), np.array([[0.0], [1.0]])).tolist()
    [1.0]
    """
    result = np.full(scores_NxD.shape[1], np.nan)
    for d in range(scores_NxD.shape[1]):
        known = ~np.isnan(present_NxD[:, d])
        present = present_NxD[known, d] > 0.5
        positive, negative = present.sum(), (~present).sum()
        if positive and negative:
            rank_sum = ranks(scores_NxD[known, d])[present].sum()
            result[d] = (rank_sum - positive * (positive + 1) / 2) / (positive * negative)
    return result


def concept_fidelity(z_NxD: np.ndarray, psi_NxD: np.ndarray) -> np.ndarray:
    """Correlation over images of each concept logit with the encoder's score of its phrase.

    Returns:
        float64 [D] in -1 to 1; NaN where one of the two is constant.
    """
    z, psi = (x - x.mean(axis=0) for x in (z_NxD.astype(np.float64), psi_NxD.astype(np.float64)))
    norms = np.sqrt((z**2).sum(axis=0) * (psi**2).sum(axis=0))
    products = (z * psi).sum(axis=0)
    return np.divide(products, norms, out=np.full_like(norms, np.nan), where=norms > 1e-12)


def mean_effective_concepts(head_KxD: np.ndarray) -> float:
    """NEC: mean number of non-zero weights per class."""
    return float(np.count_nonzero(head_KxD, axis=1).mean())


def active_concepts(
    evidence_NxD: np.ndarray, head_KxD: np.ndarray, predicted_N: np.ndarray, share: float = 0.01
) -> float:
    """Mean number of concepts that matter for an image's own prediction.

    A concept matters if its contribution is at least `share` of the sum of absolute contributions
    to the predicted class.
    """
    contributions = np.abs(head_KxD[predicted_N] * evidence_NxD)
    total = contributions.sum(axis=1, keepdims=True)
    return float(np.mean(np.sum((contributions >= share * total) & (contributions > 0), axis=1)))


def class_metrics(logits_NxK: np.ndarray, labels_N: np.ndarray) -> dict[str, float]:
    """The metrics that need no concepts: `images`, `top1`, `top5`, precision, recall and F1.

    >>> class_metrics(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([0, 0]))["top1"]
    0.5
    """
    classes = logits_NxK.shape[1]
    confusion = confusion_matrix(labels_N, np.argmax(logits_NxK, axis=1), classes)
    return {
        "images": float(len(labels_N)),
        "top1": top_k_accuracy(logits_NxK, labels_N, 1),
        "top5": top_k_accuracy(logits_NxK, labels_N, min(5, classes)),
        **precision_recall_f1(confusion),
    }


def evaluate_prediction(
    prediction: Any,
    labels_N: np.ndarray,
    head_KxD: np.ndarray,
    present_NxD: np.ndarray | None = None,
) -> dict[str, float]:
    """Every metric of one split.

    Args:
        prediction: a `jaxcbm.model.prediction.Prediction`.
        labels_N: int [N].
        head_KxD: F.
        present_NxD: annotations in the order of the concepts, where the data has them.
    """
    fidelity = concept_fidelity(prediction.concept_logits, prediction.concept_scores)
    metrics = {
        **class_metrics(prediction.class_logits, labels_N),
        "nec": mean_effective_concepts(head_KxD),
        "active_concepts": active_concepts(prediction.evidence, head_KxD, prediction.label_ids),
        "concept_fidelity": _mean(fidelity),
    }
    if present_NxD is not None:
        metrics["concept_auc"] = _mean(concept_auc(prediction.concept_logits, present_NxD))
        metrics["encoder_concept_auc"] = _mean(concept_auc(prediction.concept_scores, present_NxD))
    return metrics


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
