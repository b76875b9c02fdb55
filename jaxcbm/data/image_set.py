"""What a dataset is here: a source of images, and what is known about each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxcbm.data.image_source import ImageSource, SelectedImages


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
