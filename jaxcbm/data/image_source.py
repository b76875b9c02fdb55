"""Sources of images: by position, decoded when asked for."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from jaxcbm.encoders.image.file import UnreadableImage, decode, open_file, reason
from jaxcbm.encoders.image.open import ImageLike, open_image, upright_rgb
from jaxcbm.errors import UserError


@runtime_checkable
class ImageSource(Protocol):
    """Images by position, decoded when asked for."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Image.Image:
        """The decoded image; raises `UnreadableImage` with the reason."""
        ...

    def digest(self, index: int) -> bytes:
        """SHA-256 of the content, 32 bytes; raises `UnreadableImage` with the reason."""
        ...

    def name(self, index: int) -> str:
        """What to call the image when speaking of it to a person."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images that are already in memory.

    Args:
      pixels: uint8 [N, H, W] (grey) or [N, H, W, 3] (RGB).
      prefix: names are `prefix/index`.

    >>> ArrayImages(np.zeros((2, 8, 8, 3), np.uint8), prefix="noise").name(1)
    'noise/1'
    """

    pixels: np.ndarray
    prefix: str = "image"

    def __post_init__(self):
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
            raise ValueError(f"pixels must be uint8 [N, H, W] or [N, H, W, 3], not {dtype} {shape}")

    def __len__(self) -> int:
        return len(self.pixels)

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(self.pixels[index]))

    def digest(self, index: int) -> bytes:
        return _digest(self.pixels[index])

    def name(self, index: int) -> str:
        return f"{self.prefix}/{index}"


class ByPosition(Protocol):
    """What a list is, and a column of a dataset."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class SequenceImages:
    """Pictures as a sequence gives them: decoded, or as files that are opened when asked for.

    A decoded picture has the digest of its pixels, so that a list of pictures and an array of the
    same ones are told to be the same.

    Attributes:
        items: N of what `open_image` takes.
        prefix: names are `prefix/index`.

    >>> SequenceImages([Image.new("L", (4, 3))]).load(0).size
    (4, 3)
    """

    items: ByPosition
    prefix: str = "image"

    def __len__(self) -> int:
        return len(self.items)

    def load(self, index: int) -> Image.Image:
        return self._opened(self._item(index))

    def digest(self, index: int) -> bytes:
        item = self._item(index)
        if isinstance(item, bytes):
            return hashlib.sha256(item).digest()
        return _digest(np.asarray(self._opened(item)))

    def name(self, index: int) -> str:
        return f"{self.prefix}/{index}"

    def _item(self, index: int) -> ImageLike:
        try:
            return self.items[index]
        # A sequence that decodes by itself raises what its decoder does.
        except Exception as error:
            raise UnreadableImage(reason(error)) from error

    def _opened(self, item: ImageLike) -> Image.Image:
        try:
            return open_image(item)
        except UserError as error:
            raise UnreadableImage(str(error)) from error


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files, read one at a time.

    Args:
      paths: the files.
      root: names are relative to this folder.
    """

    paths: tuple[Path, ...]
    root: Path

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> Image.Image:
        with open_file(self.paths[index]) as file:
            return upright_rgb(decode(file))

    def digest(self, index: int) -> bytes:
        with open_file(self.paths[index]) as file:
            try:
                return hashlib.sha256(file.read()).digest()
            except OSError as error:
                raise UnreadableImage(reason(error)) from error

    def name(self, index: int) -> str:
        path = self.paths[index]
        return as_utf8(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


@dataclass(frozen=True, eq=False)
class SelectedImages:
    """Some images of another source, under the names they have there."""

    source: ImageSource
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, index: int) -> Image.Image:
        return self.source.load(int(self.indices[index]))

    def digest(self, index: int) -> bytes:
        return self.source.digest(int(self.indices[index]))

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))


@dataclass(frozen=True, eq=False)
class JoinedImages:
    """The images of one source, and behind them those of another."""

    first: ImageSource
    second: ImageSource

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def load(self, index: int) -> Image.Image:
        source, own = self._place(index)
        return source.load(own)

    def digest(self, index: int) -> bytes:
        source, own = self._place(index)
        return source.digest(own)

    def name(self, index: int) -> str:
        source, own = self._place(index)
        return source.name(own)

    def _place(self, index: int) -> tuple[ImageSource, int]:
        count = len(self.first)
        return (self.first, index) if index < count else (self.second, index - count)


def as_utf8(path: Path | str) -> str:
    """The name of a file as text that can be written; bytes that are no UTF-8 as escapes.

    >>> as_utf8(b"caf\\xe9.png".decode(errors="surrogateescape"))
    'caf\\\\udce9.png'
    """
    return str(path).encode("utf-8", "backslashreplace").decode()


def _digest(pixels: np.ndarray) -> bytes:
    pixels = np.ascontiguousarray(pixels)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
