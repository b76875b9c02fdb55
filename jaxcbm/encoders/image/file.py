"""Picture files that anybody may have handed in: what is opened, and how much of it.

Formats are told by content and not by name, and only those whose decoders do nothing but decode
are tried: Pillow hands PostScript to Ghostscript, which runs it as the program that it is. Bytes,
pixels and passes over them are bounded, and with them the time and memory that a picture can cost.
"""

import functools
import os
from typing import IO

from PIL import Image, UnidentifiedImageError

from jaxcbm.errors import UserError
from jaxcbm.ordinary_file import open_ordinary as open_local
from jaxcbm.storage import as_path, is_remote

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
MAX_BYTES = 2**29
MAX_PIXELS = 2**27
# Towers see squares: of a longer strip nothing is left, and resizing it could take all memory.
MAX_ASPECT = 200
# Progressive JPEG takes about ten; each is a pass over all pixels, however few bytes it has.
MAX_SCANS = 100
# What is often taken for a picture that can be read: how it begins -> its name.
_OTHER_SIGNS = {b"ftyphei": "HEIC", b"ftypmif1": "HEIC", b"%PDF": "PDF", b"%!PS": "PostScript"}
_OTHER_SIGNS |= {b"<svg": "SVG", b"8BPS": "Photoshop"}
_NO_PICTURE = "not a picture, or of a format that is not read"


class UnreadableImage(Exception):
    """One image cannot be read; the reason is the message, and the run goes on without it."""


def open_file(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open an ordinary file, here or remote, that is small enough to hold a picture.

    Raises:
        UnreadableImage: a pipe, a device, more than `MAX_BYTES`, or no such file.
    """
    file, size = open_ordinary(path)
    if size > MAX_BYTES:
        file.close()
        raise UnreadableImage(f"larger than {MAX_BYTES >> 20} MiB")
    return file


def open_ordinary(path: str | os.PathLike[str]) -> tuple[IO[bytes], int]:
    """Open an ordinary file of any size, here or remote; returns it and its size in bytes.

    Raises:
        UnreadableImage: a pipe, a device, or no such file.
    """
    try:
        if is_remote(path):
            remote = as_path(path)
            return remote.open("rb"), remote.stat().length
        file = open_local(path)
    except (ImportError, OSError, ValueError) as error:
        raise UnreadableImage(reason(error)) from error
    return file, os.fstat(file.fileno()).st_size


def decode(file: IO[bytes], max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The first picture of a file, in its own mode.

    Raises:
        UnreadableImage: not of `FORMATS`, damaged, of more than `max_pixels` pixels, or more than
            `MAX_ASPECT` times as long as wide.
    """
    try:
        if not file.read(1):
            raise UnreadableImage("empty file")
        file.seek(0)
        with Image.open(file, formats=_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImage(f"{width} x {height} pixels: at most {max_pixels:,} are read")
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise UnreadableImage(
                    f"{width} x {height} pixels: a strip of more than {MAX_ASPECT} to 1"
                )
            # Pillow calls a JPEG file with a table of several pictures MPO.
            if image.format in ("JPEG", "MPO"):
                file.seek(0)
                if file.read().count(b"\xff\xda") > MAX_SCANS:
                    raise UnreadableImage(f"a JPEG file of more than {MAX_SCANS} scans")
            image.load()
            return image
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        file.seek(0)
        raise UnreadableImage(_unidentified(file.read(16).ljust(16, b"\0"))) from error
    # Pillow's decoders raise almost anything on broken bytes: struct.error, SyntaxError, ...
    except Exception as error:
        raise UnreadableImage(decoding_reason(error)) from error


def reason(error: Exception) -> str:
    """One line for a skipped-images list: the system's words for files, else the reader's."""
    if isinstance(error, UnidentifiedImageError):
        return _NO_PICTURE
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split())


def decoding_reason(error: Exception) -> str:
    """As `reason`, of what a decoder raised: what is wrong with the file, in plain words.

    >>> decoding_reason(OSError("image file is truncated (7 bytes not processed)"))
    'cut short: the file ends before the picture does'
    """
    if isinstance(error, MemoryError | UserError) or getattr(error, "strerror", None):
        return reason(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"at most {MAX_PIXELS:,} pixels are read"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "cut short: the file ends before the picture does"
    return "damaged: its content makes no picture"


def _unidentified(head: bytes) -> str:
    """Why no decoder knows a file, by its first 16 bytes: they alone are looked at."""
    for sign, name in _OTHER_SIGNS.items():
        if sign in head:
            return f"{name} is not read: save it as JPEG or PNG"
    for name in _formats():
        if (accepts := Image.OPEN[name][1]) and accepts(head):
            return f"a damaged {name} file"
    return _NO_PICTURE


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
