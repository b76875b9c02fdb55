"""Whatever a user calls a picture, as an upright RGB picture of 8 bits a channel."""

import io
import os
from os import PathLike
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps

from jaxcbm.encoders.image.file import UnreadableImage, decode, decoding_reason, open_file
from jaxcbm.errors import UserError


class Array(Protocol):
    """An array of any library that NumPy can read, such as JAX."""

    def __array__(self, dtype: Any = None, /) -> np.ndarray: ...


ImageLike = Image.Image | Array | bytes | str | PathLike[str]


def open_image(source: ImageLike) -> Image.Image:
    """Open a picture of any mode as RGB.

    Transparency is laid on white (as transformers does since 5.23), deep grey is scaled to 8 bits
    rather than clipped, and the camera's orientation tag is applied.

    Args:
        source: a path, the bytes of a file, a PIL picture, or an array (of any library that NumPy
            can read) [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] of uint8, uint16, bool, or floats
            from 0 to 1.

    Returns:
        A PIL picture of mode RGB.

    Raises:
        UserError: the file cannot be read as a picture (`encoders.image.file` says which are), or
            the array is of no such form.

    >>> open_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    if isinstance(source, Image.Image):
        name = "picture"
    elif hasattr(source, "__array__"):
        return _to_rgb(_from_array(np.asarray(source)))
    elif isinstance(source, bytes):
        name = f"{len(source)} bytes"
    elif isinstance(source, str | PathLike):
        name = os.fspath(source)
    else:
        raise UserError(
            f"{type(source).__name__} is no picture: give a PIL picture, a path, bytes or an array"
        )
    try:
        if isinstance(source, Image.Image):
            return upright_rgb(source, in_place=False)
        return upright_rgb(_decoded(source))
    except UnreadableImage as error:
        advice = "replace or remove it"
        if isinstance(source, str | PathLike) and os.path.isdir(source):
            raise UserError(
                f"{name} is a folder: give jaxcbm.readable(...) of it, or of folders with names of "
                "classes jaxcbm.ImageSet.from_folder(...)"
            ) from error
        if isinstance(error.__cause__, FileNotFoundError):
            advice = "look at its name, and at the folder that the program runs in"
        raise UserError(f"{name}: {error}; {advice}") from error


def upright_rgb(image: Image.Image, *, in_place: bool = True) -> Image.Image:
    """A picture of any mode as RGB, see `open_image`; raises `UnreadableImage` with the reason.

    In place, which saves a copy, the picture given is turned as well, and may be what comes back.
    """
    try:
        image.load()
        # Pillow hands a turned copy over, or turns what it was given and hands over nothing.
        return _to_rgb(ImageOps.exif_transpose(image, in_place=in_place) or image)
    # Metadata can be as broken as pixels, and a picture that was opened elsewhere loads late.
    except Exception as error:
        raise UnreadableImage(decoding_reason(error)) from error


def _decoded(source: bytes | str | PathLike[str]) -> Image.Image:
    if isinstance(source, bytes):
        return decode(io.BytesIO(source))
    with open_file(source) as file:
        return decode(file)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if 0 in array.shape or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise UserError(
            f"array of shape {list(array.shape)} is no picture; give [H, W], [H, W, 3] or [H, W, 4]"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    return Image.fromarray(np.ascontiguousarray(_eight_bits(array)))


def _eight_bits(array: np.ndarray) -> np.ndarray:
    """Values scaled to 0..255: 16 bits by 257, floats from 0..1; wide integers by their range."""
    if array.dtype == np.uint8:
        return array
    if np.issubdtype(array.dtype, np.floating):
        if array.size and not (array.min() >= 0 and array.max() <= 1):  # NaN fails as well
            raise UserError(
                f"floats from {array.min():.3g} to {array.max():.3g} are no picture; "
                "scale them to 0..1 or give uint8"
            )
        return np.rint(array * 255).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"array of type {array.dtype} is no picture; give uint8 or floats in 0..1")
    # PIL opens some 16-bit files as 32-bit integers, and 8-bit data may come in a wide type.
    deep = array.dtype.itemsize == 2 or (array.size > 0 and array.max() > 255)
    values = np.clip(array, 0, 65535 if deep else 255).astype(np.uint32)
    return (((values + 128) // 257) if deep else values).astype(np.uint8)
