"""The card of a model: Markdown for people, and YAML for the hub, from the model's own numbers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import jaxcbm
from jaxcbm.encoders.load import named_everywhere
from jaxcbm.errors import UserError
from jaxcbm.pages import render

if TYPE_CHECKING:
    from jaxcbm.model.model import Model

_SHOWN_CLASSES, _SHOWN_CONCEPTS = 100, 6


class Measure(NamedTuple):
    """A number of the card: how people call it, the hub's own metric of that kind, and whether it
    is a share."""

    label: str
    hub_metric: str = ""
    share: bool = True


MEASURES = {
    "images": Measure("test images", share=False),
    "top1": Measure("accuracy (top-1)", "accuracy"),
    "top5": Measure("accuracy (top-5)", "accuracy"),
    "macro_f1": Measure("macro F1", "f1"),
    "anec": Measure("ANEC: mean accuracy with 5 to 30 concepts a class", "accuracy"),
    "top1_at_nec_5": Measure("accuracy with 5 concepts a class", "accuracy"),
    "nec": Measure("concepts that a class uses", share=False),
    "active_concepts": Measure("concepts that a picture's decision uses", share=False),
    "explanation_truth_5": Measure("reasons that are true of the picture, of the 5 strongest"),
    "concept_auc": Measure("concept AUC against annotations", share=False),
    "concept_fidelity": Measure(
        "correlation of concepts with the encoder's own scores", share=False
    ),
    "ece": Measure("calibration error (ECE) of its probabilities"),
    "selective_top1": Measure("accuracy on the 80 % of pictures it is surest of"),
    "set_coverage": Measure("coverage of its sets of classes that shall hold the true one at 95 %"),
    "set_size": Measure("classes in such a set", share=False),
    "unfamiliar": Measure("test pictures that it calls unlike train"),
    "random_top1": Measure("control: accuracy with as many random words as concepts"),
    "leakage_top1": Measure("control: accuracy from phrases that say nothing of the classes"),
}


def model_card(
    model: "Model",
    metrics: Mapping[str, Any],
    *,
    licence: str = "",
    name: str = "",
    with_encoder: bool = False,
) -> str:
    """The whole card.

    Args:
        model: what it is about.
        metrics: what `jaxcbm evaluate` wrote of it, the content of metrics.json; empty for what
            the model itself knows of validation.
        licence: as the hub names licences, such as "apache-2.0"; "" leaves it unsaid.
        name: "owner/name", perhaps with "@revision"; "" where it has none yet.
        with_encoder: whether a copy of the encoder lies beside the model.

    Raises:
        UserError: `metrics` are of another model, or not what `jaxcbm evaluate` writes.
    """
    _check(model, metrics)
    split = "test" if metrics else "validation"
    values = _values(model, metrics)
    title = name.partition("@")[0].rpartition("/")[2]
    return (
        "---\n"
        + _metadata(model, metrics, values, split, licence, title)
        + "\n---\n\n"
        + render(
            "card.md",
            title=title or "A concept bottleneck model",
            name=name,
            split=split,
            values=[(MEASURES[key].label, _written(key, value)) for key, value in values.items()],
            data=metrics.get("data", {}),
            not_measured=metrics.get("not_measured", {}),
            model=model,
            source=str(model.concepts.provenance.get("source", "")),
            concept_licence=str(model.concepts.provenance.get("licence", "")),
            used=int(np.any(model.head, axis=0).sum()),
            with_encoder=with_encoder,
            classes=_strongest(model),
            left=max(0, len(model.classes) - _SHOWN_CLASSES),
            licence=licence,
            version=jaxcbm.__version__,
        )
    )


def _check(model: "Model", metrics: Mapping[str, Any]) -> None:
    """Refuse the numbers of another model."""
    if not metrics:
        return
    try:
        of = metrics["concepts"]["hash"], metrics["encoder"]["hash"]
        known = all(isinstance(metrics[part], dict) for part in ("test", "data", "not_measured"))
    except (KeyError, TypeError):
        known = False
    if not known:
        raise UserError("metrics: not what `jaxcbm evaluate` writes into metrics.json")
    if of != (model.concepts.content_hash, model.encoder_hash):
        raise UserError("metrics: of another model (its concepts or its encoder are others)")


def _values(model: "Model", metrics: Mapping[str, Any]) -> dict[str, float]:
    chosen = {"top1": "chosen_top1", "nec": "chosen_nec", "anec": "anec"}
    kept = {key: model.metrics.get(name) for key, name in chosen.items()}
    found = metrics["test"] if metrics else kept
    numbers = {key: found.get(key) for key in MEASURES}
    return {
        key: float(value)
        for key, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _written(key: str, value: float) -> str:
    if MEASURES[key].share:
        return f"{value:.1%}"
    return f"{value:.0f}" if key == "images" else f"{value:.2f}"


def _metadata(
    model: "Model",
    metrics: Mapping[str, Any],
    values: Mapping[str, float],
    split: str,
    licence: str,
    title: str,
) -> str:
    """The YAML between the dashes, by the hub's own classes."""
    from huggingface_hub import EvalResult, ModelCardData

    data = str(metrics.get("data", {}).get("name", "")) or "unnamed"
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=data,
            dataset_name=data,
            dataset_split=split,
            metric_type=MEASURES[key].hub_metric,
            metric_name=MEASURES[key].label,
            metric_value=round(value, 6),
        )
        for key, value in values.items()
        if MEASURES[key].hub_metric
    ]
    based = named_everywhere(model.encoder_name) and not model.encoder_name.startswith("jaxcbm/")
    about = ModelCardData(
        base_model=model.encoder_name if based else None,
        eval_results=results or None,
        library_name="jaxcbm",
        license=licence or None,
        model_name=title or "jaxcbm model",
        pipeline_tag="image-classification",
        tags=["concept-bottleneck-model", "interpretability", "jax"],
    )
    return about.to_yaml()


def _strongest(model: "Model") -> list[tuple[str, list[tuple[str, str]]]]:
    """Classes with their strongest weights, as (class, [(phrase, weight)])."""
    listed = []
    for name in model.classes[:_SHOWN_CLASSES]:
        found = model.class_weights(name, _SHOWN_CONCEPTS)
        listed.append((name, [(phrase, f"{weight:+.2f}") for phrase, weight in found]))
    return listed
