"""What a report shows of one fit of the default model: weights, reliability, explained images."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from absl import logging

from jaxcbm.data.features import Features
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.evaluation.calibration import reliability
from jaxcbm.evaluation.evaluate import FittedMethod
from jaxcbm.evaluation.results.parts import best_and_worst, class_weights, explained_image
from jaxcbm.evaluation.results.schema import Explanations, ReliabilityDiagram
from jaxcbm.experiment.fit_ours import ours
from jaxcbm.experiment.study import Study

_IMAGES = 6


def showcase(study: Study, pictures: ImageSet, row: str) -> dict[str, Any]:
    """Parts of a result file about the default model of the first seed.

    Args:
        study: the dataset.
        pictures: the images that explanations are drawn for.
        row: name of the default's row.
    """
    fitted, test = ours(study, 0), study.splits.test
    seen = fitted.predict(test.as_array())
    explained = tuple(_explained(test, pictures, fitted, seen.class_logits))
    groups = reliability(seen.class_logits, np.asarray(test.labels), temperature=seen.temperature)
    return {
        "class_weights": class_weights(row, _comparable(fitted), test.classes, fitted.phrases),
        "reliability": (
            ReliabilityDiagram(
                row,
                tuple(groups.confidences.tolist()),
                tuple(groups.accuracies.tolist()),
                tuple(groups.counts.tolist()),
            ),
        ),
        "explanations": Explanations(row, explained),
    }


def _comparable(fitted: FittedMethod) -> np.ndarray:
    """F on activations of unit deviation, where weights of different concepts compare."""
    return fitted.head if fitted.sparse_path is None else fitted.head / fitted.sparse_path.scale


def _explained(
    test: Features, pictures: ImageSet, fitted: FittedMethod, class_logits: np.ndarray
) -> Iterable[Any]:
    assert fitted.model is not None
    place = pictures.places()
    groups = best_and_worst(class_logits, np.asarray(test.labels), _IMAGES)
    for group, positions in zip(("best", "worst"), groups, strict=True):
        for position in positions:
            index = place.get(bytes(test.digests[position]))
            if index is None:
                continue
            try:
                picture, known = pictures.source.load(index), pictures.annotations_at(index)
                explanation = fitted.model.explain(picture, k=6, annotations=known)
            except (UnreadableImage, UserError) as error:
                logging.warning("not explained: %s", error)
                continue
            yield explained_image(explanation, group, test.classes[test.labels[position]])
