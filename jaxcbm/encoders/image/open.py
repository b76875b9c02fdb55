"""Whatever a user calls a picture, as an upright RGB picture of 8 bits a channel."""

import io
from os import PathLike
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageOps

from jaxcbm.errors import UserError
from jaxcbm.lines import first_line


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
        UserError: the file cannot be read as a picture, or the array is of no such form.

    >>> open_image(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    if isinstance(source, Image.Image):
        return _upright_rgb(source, "picture")
    if hasattr(source, "__array__"):
        return _to_rgb(_from_array(np.asarray(source)))
    if isinstance(source, bytes):
        name, file = f"{len(source)} bytes", io.BytesIO(source)
    elif isinstance(source, str | PathLike):
        name, file = str(source), source
    else:
        raise UserError(
            f"{type(source).__name__} is no picture: give a PIL picture, a path, bytes or an array"
        )
    try:
        image = Image.open(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(_unreadable(name, error)) from error
    with image:
        return _upright_rgb(image, name)


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(_unreadable(name, error)) from error


def _unreadable(name: str, error: Exception) -> str:
    return f"{name}: not a readable picture ({first_line(error)}); replace or remove it"


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
