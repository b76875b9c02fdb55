"""What the explorer shows of pictures that a server has looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from jaxcbm.explore.model_part import model_part
from jaxcbm.explore.payload import explorer_payload
from jaxcbm.explore.thumbnails import thumbnails
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import joined
from jaxcbm.serve.answers import Failure
from jaxcbm.serve.service import Seen

_TITLE = "Explorer"


@dataclass(frozen=True)
class Exploration:
    """Pictures for the explorer.

    Attributes:
        explorer: what its `mount` takes; null if no picture could be read.
        unread: pictures that are not in it.
    """

    explorer: dict[str, Any] | None
    unread: tuple[Failure, ...]


def exploration(
    model: Model, seen: Sequence[tuple[str, Seen]], unread: Sequence[Failure]
) -> Exploration:
    """The explorer of pictures whose classes are not known.

    Args:
        model: that predicted.
        seen: name and prediction of each picture.
        unread: those of which nothing can be said.
    """
    if not seen:
        return Exploration(None, tuple(unread))
    names, found = zip(*seen, strict=True)
    prediction = joined(each.batch.prediction.select(np.array([each.row])) for each in found)
    small = list(thumbnails(Image.fromarray(each.pixels) for each in found))
    unknown_N = np.full(len(found), -1)
    part = model_part(model, prediction, unknown_N, name=_TITLE)
    payload = explorer_payload(_TITLE, names, small, unknown_N, model.classes, [part])
    return Exploration(payload, tuple(unread))
