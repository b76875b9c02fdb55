"""Why a model says what it says: one decision taken apart into contributions of concepts."""

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from jaxcbm.data.annotations import match_phrases
from jaxcbm.encoders.image.open import ImageLike, open_image
from jaxcbm.errors import UserError
from jaxcbm.model.batch_inference import PictureBatch, batch_inference
from jaxcbm.model.concept_map import overlay
from jaxcbm.model.explanation import Change, Contrast, Contribution, Explanation
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.smallest_change import smallest_change
from jaxcbm.model.strongest import strongest

if TYPE_CHECKING:
    from jaxcbm.model.model import Model


def explain(
    model: "Model",
    image: ImageLike,
    k: int,
    target: str | None,
    against: str | None,
    maps: bool,
    true: str | None,
    annotations: Mapping[str, float] | None,
) -> Explanation:
    """See `Model.explain`."""
    _check_asked(model, k, target, against)
    picture = open_image(image)
    batch = PictureBatch((image,), model.loaded_encoder.preprocess(picture)[None])
    _, prediction = next(batch_inference(model, [batch], 1))
    found = model.explain_prediction(picture, batch.pixels[0], prediction, k, target, against)
    if isinstance(image, str | PathLike):
        folder = Path(image).resolve().parent.name
        true = folder if true is None and folder in model.classes else true
        found = found._replace(name=str(image))
    found = found._replace(true=true, annotated=_annotated(model, annotations or {}))
    present = [part.phrase for part in found.contributions if part.present]
    if not maps or not present:
        return found
    pairs = zip(present, model.concept_maps(picture, present), strict=True)
    seen = Image.fromarray(batch.pixels[0])
    shown = tuple((phrase, overlay(seen, where)) for phrase, where in pairs)
    return found._replace(maps=shown)


def explain_prediction(
    model: "Model",
    picture: Image.Image,
    pixels_SxSx3: np.ndarray,
    prediction: Prediction,
    k: int,
    target: str | None,
    against: str | None,
) -> Explanation:
    """See `Model.explain_prediction`."""
    _check_asked(model, k, target, against)
    if against is not None and against == (target or prediction.labels[0]):
        raise UserError(f"{against!r} is the explained class: name another one to tell it from")
    found = explain_image(
        picture,
        prediction,
        head_KxD=model.head,
        phrases=model.concepts.phrases,
        classes=model.classes,
        k=k,
        target=target,
        against=against,
    )
    return found._replace(
        seen=Image.fromarray(pixels_SxSx3),
        whole=model.loaded_encoder.preprocess.keeps_all(picture),
        edits=tuple(map(str, model.edits)),
    )


def explain_image(
    image: Image.Image,
    prediction: Prediction,
    *,
    head_KxD: np.ndarray,
    phrases: Sequence[str],
    classes: Sequence[str],
    k: int,
    target: str | None = None,
    against: str | None = None,
) -> Explanation:
    """Decompose one image's class logit, and what parts it from another, into contributions.

    Concept d contributes F[k, d] (a[d] - neutral[d]) to class k: what it adds beside an image that
    says nothing about the concept (`Calibration.neutral`).

    Args:
        image: the picture.
        prediction: of this image alone.
        head_KxD: F.
        phrases: of the D concepts.
        classes: K names.
        k: contributions to keep.
        target: the class to explain; the predicted one by default.
        against: the class to tell it from; by default the predicted one, or where that is the
            target, the runner-up.
    """
    names, predicted = list(classes), int(prediction.label_ids[0])
    chosen = predicted if target is None else names.index(target)
    psi_D = prediction.concept_scores[0]
    logits_K = prediction.class_logits[0].astype(np.float64)
    probabilities_K = prediction.class_probabilities[0]
    likeliest: list[int] = np.argsort(-logits_K, kind="stable").tolist()
    highest: list[int] = np.argsort(-psi_D).tolist()
    found = Explanation(
        image=image,
        target=classes[chosen],
        predicted=classes[predicted],
        probability=float(probabilities_K[chosen]),
        **_parts(prediction, head_KxD[chosen], logits_K[chosen], phrases, k),
        top_scores=tuple((phrases[d], float(psi_D[d])) for d in highest[: max(k, 1)]),
        caution=prediction.cautions[0],
        ranking=tuple((classes[i], float(probabilities_K[i])) for i in likeliest[:2]),
    )
    if len(classes) < 2:
        return found
    first, second = likeliest[:2]
    default = first if first != chosen else second
    other = default if against is None else names.index(against)
    weights_D, margin = head_KxD[chosen] - head_KxD[other], logits_K[chosen] - logits_K[other]
    contrast = Contrast(
        other=classes[other],
        probability=float(probabilities_K[other]),
        **_parts(prediction, weights_D, margin, phrases, k),
        change=_change(prediction, logits_K, head_KxD, phrases, classes, chosen, [other]),
    )
    change = _change(prediction, logits_K, head_KxD, phrases, classes, predicted)
    return found._replace(contrast=contrast, smallest_change=change)


def contributions(
    prediction: Prediction, weights_D: np.ndarray, phrases: Sequence[str], k: int
) -> tuple[Contribution, ...]:
    """The k largest parts of a logit, or of a difference of two, sorted by absolute value.

    Args:
        prediction: of one image.
        weights_D: of the class, or the difference of two classes' weights.
        phrases: of the D concepts.
        k: how many; those of 0 are left out.
    """
    found: list[Any] = [part[0].tolist() for part in strongest(prediction, weights_D[None], k)]
    activations_D, psi_D = prediction.concept_activations[0], prediction.concept_scores[0]
    return tuple(
        Contribution(
            phrases[int(d)],
            value,
            float(weights_D[d]),
            float(activations_D[d]),
            float(psi_D[d]),
            *told,
        )
        for d, value, *told in zip(*found, strict=True)
        if value != 0.0
    )


def _parts(
    prediction: Prediction, weights_D: np.ndarray, total: float, phrases: Sequence[str], k: int
) -> dict[str, Any]:
    """The largest contributions, and the rest of what they are parts of."""
    kept = contributions(prediction, weights_D, phrases, k)
    return {"contributions": kept, "rest": float(total - sum(c.value for c in kept))}


def _change(
    prediction: Prediction,
    logits_K: np.ndarray,
    head_KxD: np.ndarray,
    phrases: Sequence[str],
    classes: Sequence[str],
    decided: int,
    others: Sequence[int] | None = None,
) -> Change | None:
    if prediction.calibration is None:
        return None
    activations_D = prediction.concept_activations[0]
    found = smallest_change(
        logits_K, activations_D, head_KxD, prediction.calibration, decided, others
    )
    if found is None:
        return None
    corrections = {phrases[c.column]: c for c in found.corrections}
    return Change(classes[found.class_id], corrections)


def _check_asked(model: "Model", k: int, target: str | None, against: str | None) -> None:
    if k < 1:
        raise UserError(f"k={k}: show at least 1 contribution")
    for name in (target, against):
        if name is not None and name not in model.classes:
            raise UserError(f"no class named {name!r} (there are {', '.join(model.classes)})")


def _annotated(model: "Model", annotations: Mapping[str, float]) -> dict[str, bool]:
    """Concept -> whether annotations say that it is there, where they say something."""
    values = [*annotations.values(), math.nan]
    columns = match_phrases(model.concepts.phrases, tuple(annotations)).tolist()
    told = zip(model.concepts.phrases, columns, strict=True)
    return {phrase: values[a] > 0.5 for phrase, a in told if not math.isnan(values[a])}
