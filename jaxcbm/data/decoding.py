"""Rows of an image source to the pixels of one batch."""

from collections.abc import Callable

import numpy as np

from jaxcbm.data.image_source import ImageSource, UnreadableImage
from jaxcbm.encoders.image.open import ImageLike, open_image
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.errors import UserError


def try_decode(
    picture: ImageLike | Callable[[], ImageLike], preprocess: Preprocess
) -> np.ndarray | str:
    """Pixels uint8 [S, S, 3] of a picture or of what a function loads; or why there are none."""
    try:
        opened = open_image(picture() if callable(picture) else picture)
        return preprocess.resize_and_crop(opened)
    except (UnreadableImage, UserError) as error:
        return str(error)


def fill_black(
    pixels: list[np.ndarray | None], source: ImageSource, preprocess: Preprocess
) -> np.ndarray:
    """One array of a batch's pixels, black where there are none."""
    seen = next((p for p in pixels if p is not None), None)
    # A batch may be filling alone: that of a process which the last images did not reach.
    black = np.zeros_like(decode_row(source, preprocess, 0) if seen is None else seen)
    return np.stack([black if p is None else p for p in pixels])


def decode_row(source: ImageSource, preprocess: Preprocess, row: int) -> np.ndarray:
    """Pixels uint8 [S, S, 3] of one image that could be read when it was hashed.

    Raises:
        UserError: it cannot be read any more.
    """
    try:
        return preprocess.resize_and_crop(open_image(source.load(row)))
    except (UnreadableImage, UserError) as error:
        raise UserError(f"{source.name(row)} was readable and is not any more: {error}") from error
