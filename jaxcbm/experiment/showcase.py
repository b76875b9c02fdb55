"""What a report shows of the default model: weights, reliability, interventions, images."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from absl import logging

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.evaluation.calibration import reliability
from jaxcbm.evaluation.interventions import POLICIES, intervention_curve
from jaxcbm.evaluation.results.parts import best_and_worst, class_weights, explained_image
from jaxcbm.evaluation.results.schema import Explanations, Interventions, ReliabilityDiagram
from jaxcbm.experiment.methods import Outcome, Study, ours
from jaxcbm.model.concept_values import concept_values, encoder_answers, replacements

_IMAGES = 6
_STEPS = 20


def showcase(study: Study, pictures: ImageSet, row: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Parts of a result file about the default model.

    Args:
        study: the dataset.
        pictures: the images that explanations are drawn for.
        row: name of the default's row.
        seeds: interventions are averaged over them; everything else is of the first.
    """
    outcomes = [ours(study, seed) for seed in seeds]
    first = outcomes[0]
    assert first.head is not None
    groups = reliability(first.class_logits, np.asarray(study.splits.test.labels))
    return {
        "class_weights": class_weights(
            row, _comparable(first), study.splits.test.classes, first.phrases
        ),
        "reliability": (
            ReliabilityDiagram(
                row,
                tuple(groups.confidences.tolist()),
                tuple(groups.accuracies.tolist()),
                tuple(groups.counts.tolist()),
            ),
        ),
        "interventions": tuple(_interventions(study, row, outcomes)),
        "explanations": Explanations(row, tuple(_explained(study, pictures, first))),
    }


def _comparable(outcome: Outcome) -> np.ndarray:
    """F on activations of unit deviation, where weights of different concepts compare."""
    assert outcome.head is not None
    return outcome.head if outcome.choice is None else outcome.head / outcome.choice.scale


def _interventions(study: Study, row: str, outcomes: list[Outcome]) -> Iterable[Interventions]:
    train, test = study.splits.train, study.splits.test
    kinds = ("expert", "encoder") if study.annotated else ("encoder",)
    for kind in kinds:
        for policy in POLICIES:
            curves = []
            for seed, outcome in enumerate(outcomes):
                assert outcome.model is not None and outcome.concepts is not None
                seen = outcome.model.predict_embeddings(train.as_array())
                truth = train.annotations_of(outcome.phrases)
                if truth is None:
                    truth = encoder_answers(seen.concept_scores, seen.concept_scores)
                values = concept_values(seen.concept_activations, truth)
                psi = seen.concept_scores, outcome.concepts.concept_scores
                told = (
                    test.annotations_of(outcome.phrases)
                    if kind == "expert"
                    else encoder_answers(*psi, truth)
                )
                assert told is not None and outcome.head is not None
                curves.append(
                    intervention_curve(
                        outcome.class_logits,
                        outcome.concepts.concept_activations,
                        outcome.head,
                        np.asarray(test.labels),
                        replacements_NxD=replacements(values, told),
                        values=values,
                        policy=policy,
                        steps=_STEPS,
                        seed=seed,
                    )
                )
            yield Interventions(
                row,
                policy,
                kind,
                tuple(curves[0].counts.tolist()),
                tuple(tuple(curve.accuracies.tolist()) for curve in curves),
            )


def _explained(study: Study, pictures: ImageSet, outcome: Outcome) -> Iterable[Any]:
    test = study.splits.test
    assert outcome.model is not None
    place = {bytes(digest): i for i, digest in enumerate(_digests(pictures))}
    groups = best_and_worst(outcome.class_logits, np.asarray(test.labels), _IMAGES)
    for group, positions in zip(("best", "worst"), groups, strict=True):
        for position in positions:
            index = place.get(bytes(test.digests[position]))
            if index is None:
                continue
            try:
                explanation = outcome.model.explain(pictures.source.load(index), k=6)
            except (UnreadableImage, UserError) as error:
                logging.warning("not explained: %s", error)
                continue
            yield explained_image(explanation, group, test.classes[test.labels[position]])


def _digests(pictures: ImageSet) -> Iterable[bytes]:
    for index in range(len(pictures)):
        try:
            yield pictures.source.digest(index)
        except UnreadableImage:
            yield b""
