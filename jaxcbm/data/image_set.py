"""What a dataset is here: a source of images, and what is known about each of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import Image


class UnreadableImage(Exception):
    """One image cannot be read; the reason is the message, and the run goes on without it."""


@runtime_checkable
class ImageSource(Protocol):
    """Images by position, decoded when asked for."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> Image.Image:
        """The decoded image in its own mode; raises `UnreadableImage` with the reason."""
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
        pixels = np.ascontiguousarray(self.pixels[index])
        return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()

    def name(self, index: int) -> str:
        return f"{self.prefix}/{index}"


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
        path = self.paths[index]
        try:
            if path.stat().st_size == 0:
                raise UnreadableImage("empty file")
            with Image.open(path) as image:
                image.load()
                return image
        except UnreadableImage:
            raise
        # Pillow's decoders raise almost anything on broken bytes: struct.error, SyntaxError, ...
        except Exception as error:
            raise UnreadableImage(_reason(error)) from error

    def digest(self, index: int) -> bytes:
        try:
            with self.paths[index].open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise UnreadableImage(_reason(error)) from error

    def name(self, index: int) -> str:
        path = self.paths[index]
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)


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
class ImageSet:
    """Images with their labels, and with annotations and captions where the data has them.

    Args:
      source: N images.
      labels: int32 [N], positions in `classes`; -1 where the class is unknown.
      classes: the names of the K classes.
      annotations: float32 [N, A]: 1 present, 0 absent, NaN unknown; None without annotations.
      annotation_phrases: what each of the A columns says.
      captions: for each image the texts that describe it; None without captions.

    >>> pixels = np.zeros((3, 8, 8), np.uint8)
    >>> images = ImageSet(ArrayImages(pixels), np.array([0, 1, 0], np.int32), ("owl", "wren"))
    >>> len(images), images.select([2, 1]).labels.tolist()
    (3, [0, 1])
    """

    source: ImageSource
    labels: np.ndarray
    classes: tuple[str, ...]
    annotations: np.ndarray | None = None
    annotation_phrases: tuple[str, ...] = ()
    captions: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self):
        count = len(self.source)
        if self.labels.shape != (count,) or self.labels.dtype != np.int32:
            raise ValueError(f"labels must be int32 [{count}], not {_kind(self.labels)}")
        if count and not -1 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(f"labels must lie in -1 .. {len(self.classes) - 1}")
        if self.annotations is None:
            if self.annotation_phrases:
                raise ValueError("annotation_phrases without annotations")
        else:
            shape = (count, len(self.annotation_phrases))
            if self.annotations.shape != shape or self.annotations.dtype != np.float32:
                raise ValueError(
                    f"annotations must be float32 {shape}, not {_kind(self.annotations)}"
                )
        if self.captions is not None and len(self.captions) != count:
            raise ValueError(f"{len(self.captions)} captions for {count} images")

    def __len__(self) -> int:
        return len(self.source)

    def select(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """The images at these positions, in this order; nothing is copied or decoded.

        Args:
          indices: integers in 0 .. N - 1; repeats are allowed.

        Returns:
          An `ImageSet` with the same classes and phrases.

        Raises:
          IndexError: a position outside the set.
        """
        positions = np.asarray(indices, np.int64)
        if positions.size and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"positions must lie in 0 .. {len(self) - 1}")
        source = self.source
        if isinstance(source, SelectedImages):
            chosen = SelectedImages(source.source, source.indices[positions])
        else:
            chosen = SelectedImages(source, positions)
        return replace(
            self,
            source=chosen,
            labels=self.labels[positions],
            annotations=None if self.annotations is None else self.annotations[positions],
            captions=None if self.captions is None else tuple(self.captions[i] for i in positions),
        )


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"


def _reason(error: Exception) -> str:
    """One line for a skipped-images list: the system's words for files, else Pillow's."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split())
