"""What a dataset is here: a source of images, and what is known about each of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from jaxcbm.data.image_source import (
    ArrayImages,
    FileImages,
    ImageSource,
    JoinedImages,
    SelectedImages,
    SequenceImages,
    UnreadableImage,
)
from jaxcbm.data.labels import label_ids, some_of
from jaxcbm.data.positions import positions_of
from jaxcbm.data.sources.folder import labelled_files
from jaxcbm.data.sources.hugging_face import labelled_rows
from jaxcbm.encoders.image.batch import as_batch
from jaxcbm.encoders.image.open import ImageLike, open_image
from jaxcbm.errors import UserError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels, and with annotations and captions where the data has them.

    Made by `from_folder`, `from_arrays` and `from_hf`. `images[i]` opens a picture; a slice is
    again an `ImageSet`.

    Attributes:
        source: N images.
        labels: int32 [N], positions in `classes`; -1 where the class is unknown.
        classes: the names of the K classes.
        annotations: float32 [N, A]: 1 present, 0 absent, NaN unknown; None without annotations.
        annotation_phrases: what each of the A columns says.
        captions: for each image the texts that describe it; None without captions.

    >>> images = ImageSet.from_arrays(np.zeros((3, 8, 8, 3), np.uint8), ["owl", "wren", "owl"])
    >>> len(images), images.select([2, 1]).labels.tolist(), images[0].size
    (3, [0, 1], (8, 8))
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

    @classmethod
    def from_folder(cls, folder: Path | str, split: str | None = None) -> "ImageSet":
        """Read `folder/CLASS/*.jpg`, or `folder/SPLIT/CLASS/*.jpg` where it has splits.

        Classes are the folder names in alphabetical order, over all splits together, so that a
        class has the same number in each. Pictures may lie deeper than their class folder. Hidden
        files and files that are no pictures are ignored; pictures are opened only when needed.

        Args:
            folder: one folder a class in it.
            split: "train", "valid" or "test"; None where `folder` has no folders for splits.

        Returns:
            An `ImageSet`, class by class, each in alphabetical order of the paths.

        Raises:
            UserError: no such folder or split, no images, or fewer than two classes.
        """
        root = Path(folder).expanduser()
        paths, labels, classes = labelled_files(root, split)
        return cls(FileImages(paths, root), labels, classes)

    @classmethod
    def from_arrays(
        cls,
        images: Sequence[ImageLike] | np.ndarray,
        labels: Sequence[int | str | None] | np.ndarray,
        classes: Sequence[str] | None = None,
        *,
        annotations: np.ndarray | None = None,
        annotation_phrases: Sequence[str] = (),
    ) -> "ImageSet":
        """Images that somebody already has in memory.

        Args:
            images: uint8 [N, H, W, 3] or [N, H, W], of NumPy, JAX or another library; or a list of
                PIL pictures, arrays, paths or bytes of files.
            labels: N positions in `classes`, or names; -1 or None where the class is unknown.
            classes: K names; by default those among the labels, in alphabetical order.
            annotations: [N, A] in {0, 1} or NaN.
            annotation_phrases: A phrases.

        Returns:
            An `ImageSet` in the order given.

        Raises:
            UserError: a row that is no picture or has no such label, or parts of different lengths.

        >>> ImageSet.from_arrays(np.zeros((2, 8, 8, 3), np.uint8), [0, 2], ["owl", "wren"])
        Traceback (most recent call last):
        ...
        jaxcbm.errors.UserError: labels[1] is 2: give a class's name or its position, 0 to 1, ...
        """
        source = _source(as_batch(images))
        ids, names = label_ids(labels, classes, len(source))
        phrases = tuple(annotation_phrases)
        if annotations is not None:
            annotations = np.asarray(annotations, np.float32)
            if annotations.shape != (len(source), len(phrases)):
                raise UserError(
                    f"annotations of shape {list(annotations.shape)}: give one row an image and "
                    f"one column a phrase, [{len(source)}, {len(phrases)}]"
                )
        return cls(source, ids, names, annotations, phrases)

    @classmethod
    def from_hf(
        cls,
        dataset: Any,
        image: str | None = None,
        label: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> "ImageSet":
        """One split of a Hugging Face `datasets` object; pictures are opened only when needed.

        Args:
            dataset: with random access, such as `load_dataset("cifar10", split="train")`.
            image: its column of pictures, decoded or not; by default the only one.
            label: its column of classes, positions or names; by default the only `ClassLabel`.
            classes: K names; by default the ClassLabel's, else those among the labels.

        Returns:
            An `ImageSet` in the order of the dataset.

        Raises:
            UserError: no such column, a label outside the classes, a stream, or several splits.
        """
        pictures, labels, own = labelled_rows(dataset, image, label)
        ids, names = label_ids(labels, own if classes is None else classes, len(pictures))
        return cls(SequenceImages(pictures, "row"), ids, names)

    def __len__(self) -> int:
        return len(self.source)

    def annotations_at(self, index: int) -> dict[str, float]:
        """What annotations say of one image: phrase -> 1 present, 0 absent, NaN unknown.

        >>> ImageSet.from_arrays(np.zeros((1, 8, 8), np.uint8), [0], ["owl"]).annotations_at(0)
        {}
        """
        if self.annotations is None:
            return {}
        told = self.annotations[index].tolist()
        return dict(zip(self.annotation_phrases, told, strict=True))

    def places(self) -> dict[bytes, int]:
        """Where each image is, by the digest of its content; unreadable ones are left out.

        >>> images = ImageSet.from_arrays(np.zeros((1, 8, 8), np.uint8), [0], ["owl"])
        >>> images.places() == {images.source.digest(0): 0}
        True
        """
        found = {}
        for index in range(len(self)):
            with suppress(UnreadableImage):
                found[self.source.digest(index)] = index
        return found

    def __repr__(self) -> str:
        lines = [f"ImageSet of {len(self):,} images, {some_of(self.classes, 'classes')}"]
        if self.annotations is not None:
            lines.append(f"annotations: {some_of(self.annotation_phrases, 'phrases')}")
        if self.captions is not None:
            lines.append(f"captions: {sum(map(len, self.captions)):,}")
        return "\n  ".join(lines)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageSet": ...
    def __getitem__(self, index: int | slice) -> "Image.Image | ImageSet":
        """The picture at a position, as RGB, or the images of a slice.

        Raises:
            IndexError: a position outside the set.
            UserError: the picture cannot be read.
        """
        if isinstance(index, slice):
            return self.select(range(*index.indices(len(self))))
        place = range(len(self))[index]
        try:
            return open_image(self.source.load(place))
        except UnreadableImage as error:
            raise UserError(f"{self.source.name(place)} cannot be read: {error}") from error

    def joined(self, other: "ImageSet") -> "ImageSet":
        """These images, and behind them others of the same classes; without annotations.

        >>> images = ImageSet.from_arrays(np.zeros((2, 8, 8, 3), np.uint8), ["owl", "wren"])
        >>> images.joined(images[1:]).labels.tolist()
        [0, 1, 1]
        """
        if other.classes != self.classes:
            raise ValueError("images of other classes")
        labels = np.concatenate([self.labels, other.labels])
        return ImageSet(JoinedImages(self.source, other.source), labels, self.classes)

    def select(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """The images at these positions, in this order; nothing is copied or decoded.

        Args:
            indices: integers in 0 .. N - 1; repeats are allowed. Or a mask, bool [N].

        Returns:
            An `ImageSet` with the same classes and phrases.

        Raises:
            IndexError: a position outside the set.
        """
        positions = positions_of(indices, len(self))
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


def _source(images: Sequence[ImageLike] | np.ndarray) -> ImageSource:
    if isinstance(images, np.ndarray):
        pixels = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
        if pixels.dtype == np.uint8 and pixels.shape[3:] in ((), (3,)):
            return ArrayImages(pixels)
    items = []
    for row, item in enumerate(images):
        try:
            # What is no picture at all shows here, and not among images that cannot be read.
            later = isinstance(item, str | bytes | PathLike | Image.Image)
            items.append(item if later else open_image(item))
        except UserError as error:
            raise UserError(f"images[{row}]: {error}") from error
    return SequenceImages(items)


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
