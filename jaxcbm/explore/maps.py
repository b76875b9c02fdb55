"""Where concepts are, for the few pictures whose maps a page holds."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from jaxcbm.explore.packing import packed
from jaxcbm.model.concept_map import above_mean
from jaxcbm.model.explain import contributions
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction

# Strongest reasons of a picture among which those that are there have maps.
_REASONS = 8


def maps_part(
    model: Model, prediction: Prediction, pictures: Iterable[tuple[int, Image.Image]]
) -> list[dict[str, Any]]:
    """Maps of the concepts that decide, of some pictures.

    Args:
        model: what maps concepts.
        prediction: of all pictures.
        pictures: position among them, and the picture itself.

    Returns:
        For each picture its position, its concepts by theirs, and uint8 [P, cells, cells], 255 at
        the strongest place of each concept.
    """
    parts = []
    for position, picture in pictures:
        alone, label = prediction.select(np.array([position])), int(prediction.label_ids[position])
        strongest = contributions(alone, model.head[label], model.concepts.phrases, _REASONS)
        phrases = [part.phrase for part in strongest if part.present]
        if not phrases:
            continue
        maps = np.stack([above_mean(found) for found in model.concept_maps(picture, phrases)])
        columns = [model.concepts.phrases.index(phrase) for phrase in phrases]
        values = packed(np.rint(255 * maps), "uint8")
        parts.append({"picture": position, "concepts": columns, "values": values})
    return parts
