"""What is said of one picture, in the form in which it is sent."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.strongest import Strongest, strongest
from jaxcbm.model.wording import chance, reason, said
from jaxcbm.typed_json import Whole

# Decimals of probabilities: less than a millionth says nothing that validation could have told.
_DECIMALS = 6


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
        probability: that the concept is there, to six decimals; null where annotations did not
            tell.
    """

    activation: float
    probability: float


@dataclass(frozen=True)
class Answer:
    """What is said of one picture.

    Attributes:
        name: of the picture, as the request has it.
        label: the likeliest class.
        probability: of the label, to six decimals.
        probabilities: of the likeliest classes, to six decimals; in the order that they have before
            they are rounded, so that the label comes first.
        set: classes that it may show; the right one is among them for 95 % of pictures like those
            of validation.
        familiarity: share of validation pictures that are as unlike train, to six decimals; null if
            unknown.
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


class _Rows(NamedTuple):
    """What every answer of a batch of B pictures needs.

    Attributes:
        label_ids: int [B].
        probabilities: of the classes, rounded, float64 [B, K].
        likeliest: classes by what these were before, int64 [B, K].
        sets: which classes each may show, bool [B, K].
        familiarity: rounded, float64 [B].
        cautions: B texts.
    """

    label_ids: np.ndarray
    probabilities: np.ndarray
    likeliest: np.ndarray
    sets: np.ndarray
    familiarity: np.ndarray
    cautions: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PredictedBatch:
    """The pictures of one batch; what their answers have in common is computed once, when needed.

    Attributes:
        model: that predicted.
        prediction: of B pictures.
    """

    model: Model
    prediction: Prediction
    _strongest: dict[int, Strongest] = field(default_factory=dict, init=False)

    def answer(self, name: str, row: int, options: Options) -> Answer:
        """What is said of one picture.

        Args:
            name: of the picture.
            row: of the picture in the batch.
            options: how much to say.
        """
        rows, classes = self._rows, self.model.classes
        likeliest_K, probabilities_K = rows.likeliest[row], rows.probabilities[row]
        label = int(rows.label_ids[row])
        return Answer(
            name=name,
            label=classes[label],
            probability=float(probabilities_K[label]),
            probabilities={
                classes[k]: float(probabilities_K[k]) for k in likeliest_K[: options.classes]
            },
            set=tuple(classes[k] for k in likeliest_K[rows.sets[row][likeliest_K]]),
            familiarity=float(rows.familiarity[row]),
            caution=rows.cautions[row],
            reasons=self._reasons(row, options.top),
            concepts=self._concepts(row) if options.concepts else None,
        )

    @cached_property
    def _rows(self) -> _Rows:
        found, probabilities_BxK = self.prediction, self.prediction.class_probabilities
        return _Rows(
            found.label_ids,
            probabilities_BxK.round(_DECIMALS),
            np.argsort(-probabilities_BxK, axis=1, kind="stable"),
            found.prediction_sets,
            found.familiarity.round(_DECIMALS),
            found.cautions,
        )

    def _reasons(self, row: int, top: int) -> tuple[Reason, ...]:
        if top not in self._strongest:
            weights_BxD = self.model.head[self._rows.label_ids]
            self._strongest[top] = strongest(self.prediction, weights_BxD, top)
        found: Any = [part[row].tolist() for part in self._strongest[top]]
        phrases, told = self.model.concepts.phrases, []
        for d, value, present, probability, percentile in zip(*found, strict=True):
            if value != 0.0:
                label, likely = said(phrases[d], present), chance(probability, percentile)
                told.append(Reason(phrases[d], present, value, reason(label, value, likely)))
        return tuple(told)

    @cached_property
    def _concept_probabilities(self) -> np.ndarray:
        return self.prediction.concept_probabilities.round(_DECIMALS)

    def _concepts(self, row: int) -> dict[str, ConceptValue]:
        activations_D = self.prediction.concept_activations[row].tolist()
        probabilities_D = self._concept_probabilities[row].tolist()
        pairs = zip(activations_D, probabilities_D, strict=True)
        phrases = self.model.concepts.phrases
        return {d: ConceptValue(*pair) for d, pair in zip(phrases, pairs, strict=True)}
