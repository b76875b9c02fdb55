"""All that the explorer's page knows, as JSON: pictures, and what models say of them."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxcbm.data.readable import left_out_by_readable
from jaxcbm.encoders.image.open import ImageLike, open_image
from jaxcbm.errors import UserError
from jaxcbm.explore.maps import maps_part
from jaxcbm.explore.model_part import model_part
from jaxcbm.explore.packing import packed
from jaxcbm.explore.thumbnails import SIDE, thumbnails
from jaxcbm.model.model import Model

FORMAT = 1
# Pictures that are open at once while they are encoded.
_BATCH = 64


def explorer_payload(
    title: str,
    names: Sequence[str],
    small: Sequence[str],
    labels_N: np.ndarray,
    classes: Sequence[str],
    models: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Pictures and models as one JSON object, which the front end's `mount` takes.

    Args:
        title: of the page.
        names: of N pictures.
        small: from `thumbnails`.
        labels_N: int [N], positions in `classes`; -1 where the class is unknown.
        classes: K names, of every model.
        models: from `model_part`; one, or two to compare.
    """
    return {
        "format": FORMAT,
        "title": title,
        "classes": list(classes),
        "names": list(names),
        "thumbnails": list(small),
        "labels": packed(labels_N, "int32"),
        "models": list(models),
    }


def payload_of(
    model: Model,
    pictures: Iterable[tuple[str, ImageLike, int]],
    *,
    title: str = "Explorer",
    maps: int = 0,
    side: int = SIDE,
) -> dict[str, Any]:
    """The explorer of given pictures.

    Args:
        model: what predicts them.
        pictures: of each its name, whatever `Model.explain` takes, and the position of its class in
            `model.classes`, -1 where it is unknown; a batch of them is open at once.
        title: of the page.
        maps: the first so many pictures have concept maps; each takes 170 pictures through the
            encoder.
        side: longer edge of the small pictures, in pixels.

    Raises:
        UserError: a picture cannot be read, or there is none.
    """
    names, labels, small, embeddings = [], [], [], []
    mapped: list[tuple[int, Image.Image]] = []
    encoder, stream = model.loaded_encoder, _opened(pictures)
    while batch := list(itertools.islice(stream, _BATCH)):
        opened = [picture for _, picture, _ in batch]
        mapped += enumerate(opened[: max(maps - len(names), 0)], len(names))
        small += thumbnails((Image.fromarray(encoder.preprocess(x)) for x in opened), side)
        embeddings.append(encoder.embed_images(opened))
        names += [name for name, _, _ in batch]
        labels += [label for _, _, label in batch]
    if not names:
        raise UserError("no readable picture to explore: give at least one")
    prediction, labels_N = model.predict_embeddings(np.concatenate(embeddings)), np.array(labels)
    found = maps_part(model, prediction, mapped)
    part = model_part(model, prediction, labels_N, name=title, maps=found)
    return explorer_payload(title, names, small, labels_N, model.classes, [part])


def _opened(
    pictures: Iterable[tuple[str, ImageLike, int]],
) -> Iterator[tuple[str, Image.Image, int]]:
    try:
        for name, picture, label in pictures:
            yield name, open_image(picture), label
    except UserError as error:
        raise left_out_by_readable(str(error)) from error
