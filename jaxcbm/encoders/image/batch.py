"""Whatever a user calls pictures, as several of them."""

from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np
from PIL import Image

from jaxcbm.encoders.image.open import ImageLike
from jaxcbm.errors import UserError

# Sizes of the last axis that are colours.
_COLOURS = (1, 3, 4)


def as_batch(images: ImageLike | Iterable[ImageLike]) -> Sequence[ImageLike] | np.ndarray:
    """Several pictures: a single one becomes a batch of one, arrays of any library become NumPy's.

    Args:
        images: one picture (PIL, path, the bytes of a file, an array [H, W] or [H, W, C] of 1, 3
            or 4 colours), several of them, or an array [N, H, W] or [N, H, W, C].

    Returns:
        An array [N, H, W] or [N, H, W, C], or a sequence of pictures, which are not opened yet.

    Raises:
        UserError: an array of another shape, or no pictures at all.

    >>> as_batch(np.zeros((8, 6, 3), np.uint8)).shape, as_batch("bird.png")
    ((1, 8, 6, 3), ['bird.png'])
    """
    if isinstance(images, str | bytes | PathLike | Image.Image):
        return [images]
    if hasattr(images, "__array__"):
        return _several(np.asarray(images))
    if hasattr(images, "__len__") and hasattr(images, "__getitem__"):
        return images  # pyright: ignore[reportReturnType]
    if isinstance(images, Iterable):
        return list(images)
    raise UserError(
        f"{type(images).__name__} is no picture: give PIL pictures, paths, bytes or arrays"
    )


def _several(array: np.ndarray) -> np.ndarray:
    shape, coloured = list(array.shape), array.shape[-1:] and array.shape[-1] in _COLOURS
    if array.ndim == 2 or (array.ndim == 3 and coloured):
        return array[None]
    if array.ndim == 3 or (array.ndim == 4 and coloured):
        return array
    hint = ", so move the colours to the end" if array.ndim == 4 and shape[1] in _COLOURS else ""
    raise UserError(
        f"images of shape {shape}; give uint8 [N, H, W, 3], or one picture [H, W, 3]{hint}"
    )
