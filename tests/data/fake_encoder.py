"""An encoder of a few lines with the surface that the feature store needs, and pictures for it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import ArrayImages, FileImages


@dataclass(frozen=True)
class FakePreprocess:
    size: int = 8

    def resize_and_crop(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image.resize((self.size, self.size)))


@dataclass
class FakeEncoder:
    """Embeds by a fixed random projection; counts what it is asked for."""

    name: str = "fake"
    seed: int = 0
    dtype: str = "float32"
    embed_dim: int = 8
    preprocess: FakePreprocess = field(default_factory=FakePreprocess)
    batches: list[int] = field(default_factory=list)

    @property
    def content_hash(self) -> str:
        return f"weights-{self.seed}"

    def embed_pixels(self, pixels: np.ndarray, batch_size: int = 64) -> np.ndarray:
        assert pixels.dtype == np.uint8 and len(pixels) <= batch_size
        self.batches.append(len(pixels))
        flat = pixels.reshape(len(pixels), -1).astype(np.float64)
        projection = np.random.default_rng(self.seed).normal(size=(flat.shape[1], self.embed_dim))
        rows = flat @ projection + 1.0
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def array_images(count: int, seed: int = 0) -> ImageSet:
    """Random pictures in memory, of two classes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    labels = (np.arange(count) % 2).astype(np.int32)
    return ImageSet(ArrayImages(pixels), labels, ("owl", "wren"))


def file_images(folder: Path, count: int, seed: int = 0) -> ImageSet:
    """Random pictures as PNG files, of two classes."""
    folder.mkdir(parents=True, exist_ok=True)
    images = array_images(count, seed)
    paths = tuple(folder / f"{index:03d}.png" for index in range(count))
    for index, path in enumerate(paths):
        images.source.load(index).save(path)
    return ImageSet(FileImages(paths, folder), images.labels, images.classes)
