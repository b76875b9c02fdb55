"""One model in a page: all that recomputes and explains its decisions, without its encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxcbm.evaluation.calibration import reliability
from jaxcbm.evaluation.metrics import concept_auc
from jaxcbm.explore.packing import Quantised, packed, quantised
from jaxcbm.model.calibration import Calibration
from jaxcbm.model.familiarity import UNFAMILIAR
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction

# Concepts of nearest meaning that are named.
_ALIKE = 6
# Class frequencies beyond 16 MiB are left out: corrections then do not carry.
_FREQUENCIES = 2**22
# Rows of similarities that are held at once.
_ROWS = 1024


def model_part(
    model: Model,
    prediction: Prediction,
    labels_N: np.ndarray,
    *,
    name: str,
    truth_NxD: np.ndarray | None = None,
    metrics: Mapping[str, Any] | None = None,
    maps: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A model and what it says of N pictures, as JSON.

    Args:
        model: a fitted one.
        prediction: of the pictures; see `shown_prediction`.
        labels_N: int [N]; -1 where the class is unknown.
        name: what the page calls it.
        truth_NxD: annotations in the order of the concepts, NaN where unknown; None without any.
        metrics: `test` of metrics.json, for accuracy at numbers of concepts.
        maps: from `jaxcbm.explore.maps.maps_part`.
    """
    stored = quantised(prediction.concept_activations)
    shown = shown_prediction(model, prediction, stored)
    known_N = np.asarray(labels_N) >= 0
    return {
        "name": name,
        "encoder": model.encoder_name,
        "edits": [str(edit) for edit in model.edits],
        "phrases": list(model.concepts.phrases),
        "activations": stored.packed(),
        "head": _sparse(model.head),
        "bias": packed(model.params.get("head.bias", np.zeros(len(model.classes))), "float32"),
        "temperature": prediction.temperature,
        "calibration": None if model.calibration is None else _calibration(model.calibration),
        "trust": None if model.familiarity is None else _trust(prediction),
        **_truth(prediction, truth_NxD),
        "alike": _alike(model.concept_embeddings),
        "reliability": _reliability(shown, np.asarray(labels_N), known_N) if known_N.any() else [],
        "nec": _accuracy_at_nec(model.metrics, metrics or {}),
        "maps": list(maps),
    }


def shown_prediction(model: Model, prediction: Prediction, stored: Quantised) -> Prediction:
    """What a page says: from activations as they are stored, in float64."""
    activations_NxD = stored.values
    bias_K = np.asarray(model.params.get("head.bias", 0.0), np.float64)
    logits_NxK = activations_NxD @ model.head.T.astype(np.float64) + bias_K
    return replace(prediction, class_logits=logits_NxK, concept_activations=activations_NxD)


def _sparse(head_KxD: np.ndarray) -> dict[str, Any]:
    """The non-zero weights, class by class (compressed sparse rows)."""
    classes, concepts = np.nonzero(head_KxD)
    starts = np.searchsorted(classes, np.arange(len(head_KxD) + 1))
    return {
        "starts": packed(starts, "int32"),
        "concepts": packed(concepts, "int32"),
        "weights": packed(head_KxD[classes, concepts], "float32"),
    }


def _calibration(record: Calibration) -> dict[str, Any]:
    names = ("slope", "intercept", "mean", "absent", "present", "neutral")
    kept = record.frequencies.size <= _FREQUENCIES
    return {
        **{name: packed(getattr(record, name), "float64") for name in names},
        "quantiles": packed(record.quantiles, "float32"),
        "frequencies": packed(record.frequencies, "float32") if kept else None,
    }


def _trust(prediction: Prediction) -> dict[str, Any]:
    trust = prediction.trust
    assert trust is not None
    return {
        "familiarity": packed(prediction.familiarity, "float32") if trust.can_tell else None,
        "unfamiliar": UNFAMILIAR,
        "least_probability": trust.least_probability,
        "set_threshold": trust.set_threshold,
    }


def _truth(prediction: Prediction, truth_NxD: np.ndarray | None) -> dict[str, Any]:
    """Annotations (0 not there, 1 there, 2 unknown), and how well each concept ranks by them."""
    if truth_NxD is None or np.isnan(truth_NxD).all():
        return {"truth": None, "auc": None}
    auc_D = concept_auc(prediction.concept_logits, truth_NxD)
    told_NxD = np.where(np.isnan(truth_NxD), 2, truth_NxD > 0.5)
    return {"truth": packed(told_NxD, "uint8"), "auc": packed(auc_D, "float32")}


def _alike(embeddings_DxE: np.ndarray) -> dict[str, Any]:
    """For each concept those whose phrases mean most like it, and how alike they are."""
    count, rows = min(_ALIKE, len(embeddings_DxE) - 1), []
    for start in range(0, len(embeddings_DxE), _ROWS):
        cosines = embeddings_DxE[start : start + _ROWS] @ embeddings_DxE.T
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        rows.append((nearest, np.take_along_axis(cosines, nearest, axis=1)))
    concepts, cosines = (np.concatenate(column) for column in zip(*rows, strict=True))
    return {"concepts": packed(concepts, "int32"), "cosines": packed(cosines, "float32")}


def _reliability(
    shown: Prediction, labels_N: np.ndarray, known_N: np.ndarray
) -> list[dict[str, Any]]:
    logits_NxK, labels_N = shown.class_logits[known_N], labels_N[known_N]
    groups = reliability(logits_NxK, labels_N, temperature=shown.temperature)
    rows = zip(groups.confidences, groups.accuracies, groups.counts, strict=True)
    return [{"said": float(c), "right": float(a), "pictures": int(n)} for c, a, n in rows]


def _accuracy_at_nec(fitted: Mapping[str, Any], test: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy of the heads of the path on validation, and at fixed numbers on test."""
    if "path" not in fitted:
        return None
    path, prefix = fitted["path"], "top1_at_nec_"
    at = {int(k.removeprefix(prefix)): v for k, v in test.items() if k.startswith(prefix)}
    return {
        "valid": [list(pair) for pair in zip(path["nec"], path["valid_top1"], strict=True)],
        "test": [list(pair) for pair in sorted(at.items())],
        "chosen": fitted["chosen_nec"],
    }
