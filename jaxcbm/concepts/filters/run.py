"""Run named filters over a concept set, one after the other, and log what each dropped and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.filters.table import FILTERS
from jaxcbm.errors import UserError


@dataclass(frozen=True, eq=False)
class Evidence:
    """What filters look at beside the phrases; None where it is not there.

    Attributes:
        texts: unit-norm embeddings of the phrases, float32 [D, E]; those of several text encoders
            joined by `join_embeddings`.
        classes: K names.
        class_texts: unit-norm embeddings of the class names in the same space, float32 [K, E].
        pictured: embeddings of the phrases in the space of the images, where `texts` is joined of
            several encoders; None: `texts`.
        images: unit-norm embeddings of train images, float32 [N, E'].
        labels: int [N], negative where unknown.
    """

    texts: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    class_texts: np.ndarray | None = None
    pictured: np.ndarray | None = None
    images: np.ndarray | None = None
    labels: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> "Evidence":
        """The same for some of the phrases, given by bool [D] or positions."""
        texts, pictured = (None if x is None else x[rows] for x in (self.texts, self.pictured))
        return replace(self, texts=texts, pictured=pictured)


class Step(NamedTuple):
    """One filter of a pipeline.

    Attributes:
        name: a key of `FILTERS`.
        settings: its thresholds by name.
    """

    name: str
    settings: Mapping[str, Any] = MappingProxyType({})


# What the released system runs; the others need images, or a number that suits the encoder.
DEFAULT_STEPS = tuple(Step(name) for name, each in FILTERS.items() if each.by_default)


def filter_concepts(
    concepts: ConceptSet, evidence: Evidence, steps: Sequence[Step] = DEFAULT_STEPS
) -> ConceptSet:
    """Run filters in order, each over what the ones before it kept.

    Args:
        concepts: D phrases.
        evidence: what the filters look at; its rows are those of `concepts.phrases`.
        steps: which filters, and their settings; what a step leaves out has the filter's default.

    Returns:
        The phrases that survive, in their order, with every step in `.filters`: its settings, what
        it dropped, and why. Running the same steps again drops nothing more: filters are
        idempotent, and all but `cover` also keep every part of what they keep. Put it last.

    Raises:
        UserError: an unknown filter or setting, evidence that a filter needs and is not there, or
            a filter that would drop everything.

    >>> concepts = ConceptSet.from_phrases(["red crown", "the red crowns"])
    >>> kept = filter_concepts(concepts, Evidence(), [Step("length"), Step("duplicates")])
    >>> kept.phrases, kept.filters[1].dropped[0].reason
    (('red crown',), "same as 'red crown'")
    """
    plan = [_settled(step, evidence) for step in steps]
    if evidence.texts is not None and len(evidence.texts) != len(concepts):
        raise ValueError(f"{len(evidence.texts)} text embeddings for {len(concepts)} phrases")
    for name, settings in plan:
        given = [_field(evidence, field) for field in FILTERS[name].evidence]
        reasons = FILTERS[name].function(concepts.phrases, *given, **settings)
        dropped = {
            phrase: why for phrase, why in zip(concepts.phrases, reasons, strict=True) if why
        }
        concepts = concepts.without(dropped, name, settings)
        evidence = evidence.of(np.array([not why for why in reasons]))
    return concepts


def _settled(step: Step, evidence: Evidence) -> tuple[str, dict[str, Any]]:
    """The step with all of its settings, once it is sure that it can run."""
    if step.name not in FILTERS:
        raise UserError(f"no filter {step.name!r}: one of {', '.join(FILTERS)}")
    fields, defaults = FILTERS[step.name].evidence, FILTERS[step.name].defaults
    if unknown := sorted(set(step.settings) - set(defaults)):
        raise UserError(
            f"filter {step.name} has no setting {unknown[0]!r}; it has "
            f"{', '.join(defaults) or 'none'}"
        )
    if missing := [name for name in fields if _field(evidence, name) is None]:
        raise UserError(f"filter {step.name} needs {_NEEDED[missing[0]]}")
    return step.name, {**defaults, **step.settings}


_NEEDED = {
    "texts": "text embeddings of the phrases: give an encoder",
    "pictured": "text embeddings of the phrases: give an encoder",
    "class_texts": "the class names: give a file of them",
    "images": "embeddings of train images: give a dataset",
    "labels": "the labels of train images: give a dataset that has them",
}


def _field(evidence: Evidence, name: str) -> Any:
    if name == "pictured" and evidence.pictured is None:
        return evidence.texts
    return getattr(evidence, name)
