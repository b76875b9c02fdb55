"""What is said of one picture, in the form in which it is sent."""

from dataclasses import dataclass

import numpy as np

from jaxcbm.model.explain import contributions
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction
from jaxcbm.typed_json import Whole


@dataclass(frozen=True)
class Options:
    """How much is said of each picture.

    Attributes:
        top: reasons, the strongest first.
        classes: likeliest classes, with their probabilities.
        concepts: whether to list every concept.
    """

    top: Whole = 5
    classes: Whole = 5
    concepts: bool = False


@dataclass(frozen=True)
class Reason:
    """What one concept added to the logit of the label.

    Attributes:
        concept: its phrase.
        present: whether it counts as there.
        value: what it added, in units of the logit.
        text: the same in words.
    """

    concept: str
    present: bool
    value: float
    text: str


@dataclass(frozen=True)
class ConceptValue:
    """What the model says of one concept.

    Attributes:
        activation: in the model's own units.
        probability: that the concept is there; null where annotations did not tell.
    """

    activation: float
    probability: float


@dataclass(frozen=True)
class Answer:
    """What is said of one picture.

    Attributes:
        name: of the picture, as the request has it.
        label: the likeliest class.
        probability: of the label.
        probabilities: of the likeliest classes, in that order.
        set: classes that it may show; the right one is among them for 95 % of pictures like those
            of validation.
        familiarity: share of validation pictures that are as unlike train; null if unknown.
        caution: why not to trust the decision; empty where nothing speaks against it.
        reasons: what added most to the logit of the label, or took most from it.
        concepts: every concept by its phrase, if asked for.
    """

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]
    set: tuple[str, ...]
    familiarity: float
    caution: str
    reasons: tuple[Reason, ...]
    concepts: dict[str, ConceptValue] | None = None


@dataclass(frozen=True)
class Failure:
    """A picture of which nothing can be said.

    Attributes:
        name: of the picture, as the request has it.
        error: why.
    """

    name: str
    error: str


@dataclass(frozen=True)
class Answers:
    """What is said of each picture, in the order of the request.

    Attributes:
        images: an answer each, or a failure.
    """

    images: tuple[Answer | Failure, ...]


def answer(name: str, model: Model, prediction: Prediction, row: int, options: Options) -> Answer:
    """What is said of one picture of a batch.

    Args:
        name: of the picture.
        model: that predicted.
        prediction: of the batch.
        row: of the picture in it.
        options: how much to say.
    """
    alone = prediction.select(np.array([row]))
    label, probabilities_K = int(alone.label_ids[0]), alone.class_probabilities[0]
    likeliest: list[int] = np.argsort(-probabilities_K, kind="stable").tolist()
    strongest = contributions(alone, model.head[label], model.concepts.phrases, options.top)
    values = None
    if options.concepts:
        pairs = zip(alone.concept_activations[0], alone.concept_probabilities[0], strict=True)
        told = (ConceptValue(float(a), float(p)) for a, p in pairs)
        values = dict(zip(model.concepts.phrases, told, strict=True))
    return Answer(
        name=name,
        label=alone.labels[0],
        probability=float(probabilities_K[label]),
        probabilities={
            model.classes[k]: float(probabilities_K[k]) for k in likeliest[: options.classes]
        },
        set=tuple(model.classes[k] for k in likeliest if alone.prediction_sets[0, k]),
        familiarity=float(alone.familiarity[0]),
        caution=alone.cautions[0],
        reasons=tuple(Reason(c.phrase, c.present, c.value, str(c)) for c in strongest),
        concepts=values,
    )
