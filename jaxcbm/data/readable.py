"""Pictures without those that cannot be read."""

import os
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, overload

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import FileImages, ImageSource, SequenceImages, UnreadableImage
from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.skipped import tell_skipped
from jaxcbm.data.sources.folder import find_pictures
from jaxcbm.encoders.image.batch import as_batch
from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.errors import UserError


@overload
def readable(images: ImageSet) -> ImageSet: ...
@overload
def readable(images: ImageLike | Iterable[ImageLike]) -> list[Any]: ...
def readable(images: ImageSet | ImageLike | Iterable[ImageLike]) -> ImageSet | list[Any]:
    """Leave out pictures that cannot be read; a warning says how many, and names the first.

    For `Model.predict` and `Model.explore`, which refuse them: each row there is one of the
    pictures that were given. `fit` and `encode` leave them out by themselves. Every picture is
    decoded for it, in threads, as if it were predicted.

    Args:
        images: an `ImageSet`; a folder, whose pictures are found as `jaxcbm predict` does; or
            whatever else `Model.predict` takes.

    Returns:
        An `ImageSet` of the same classes, or a list of what was given; in the same order.

    Raises:
        UserError: no pictures there, or none that can be read.

    >>> import numpy as np
    >>> len(readable([np.zeros((8, 8, 3), np.uint8), b"no picture"]))
    1
    """
    if isinstance(images, str | PathLike) and Path(images).expanduser().is_dir():
        folder = Path(images).expanduser()
        images = find_pictures(folder)
        if not images:
            raise UserError(f"{folder}: no pictures there")
    pictures = images if isinstance(images, ImageSet) else as_batch(images)
    source, threads = _source(pictures), os.cpu_count() or 1

    def why_not(index: int) -> str:
        try:
            source.load(index)
        except UnreadableImage as error:
            return str(error)
        return ""

    rows = range(len(source))
    reasons = list(map_ahead(why_not, rows, threads=threads, window=4 * threads))
    skipped = tuple((source.name(i), reason) for i, reason in enumerate(reasons) if reason)
    if len(skipped) == len(source):
        first = f" (first: {': '.join(skipped[0])})" if skipped else ""
        raise UserError(f"none of the {len(source)} images can be read{first}")
    tell_skipped(skipped, len(source))
    kept = [i for i, reason in enumerate(reasons) if not reason]
    if isinstance(pictures, ImageSet):
        return pictures.select(kept)
    return [pictures[i] for i in kept]


def left_out_by_readable(reason: str) -> UserError:
    """The error of a picture that cannot be read, with the way to do without it."""
    told = "jaxcbm.readable" in reason
    return UserError(reason if told else f"{reason} (jaxcbm.readable leaves such pictures out)")


def _source(pictures: Any) -> ImageSource:
    if isinstance(pictures, ImageSet):
        return pictures.source
    if isinstance(pictures, Sequence) and all(isinstance(p, str | PathLike) for p in pictures):
        return FileImages(tuple(map(Path, pictures)), root=Path())
    return SequenceImages(pictures)
