"""TensorFlow Datasets prepared as array_record, read at random and without TensorFlow."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import SequenceImages
from jaxcbm.data.sources import class_names as names_of
from jaxcbm.encoders.image.file import UnreadableImage, decode, reason
from jaxcbm.encoders.image.open import upright_rgb
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line


@dataclass(frozen=True, eq=False)
class TfdsImages:
    """Images of a TFDS split, as the encoded bytes that it holds, decoded with Pillow.

    Attributes:
        records: gives a dict of features at each position; images not decoded.
        digests: uint8 [N, 32], SHA-256 of the encoded bytes.
        prefix: names are `prefix/position`.
    """

    records: Sequence[dict[str, Any]]
    digests: np.ndarray
    prefix: str

    def __len__(self) -> int:
        return len(self.digests)

    def load(self, index: int) -> Image.Image:
        try:
            content = self.records[index]["image"]
        except Exception as error:  # a disk, or a file that changed since its digests were made
            raise UnreadableImage(reason(error)) from error
        return upright_rgb(decode(io.BytesIO(content)))

    def digest(self, index: int) -> bytes:
        return self.digests[index].tobytes()

    def name(self, index: int) -> str:
        return f"{self.prefix}/{index}"


def load_tfds(
    name: str,
    split: str,
    *,
    data_dir: Path | str | None = None,
    class_names: Sequence[str] | None = None,
) -> ImageSet:
    """Read a split of a dataset that `prepare_tfds` or `tfds build` has prepared as array_record.

    Its features "image" and "label" are read.

    Args:
        name: the dataset, such as "cifar10" or "caltech101:3.0.2"; also one that TFDS does not know
            but that lies prepared in `data_dir`.
        split: "train", "test", "train[:50%]", ...
        data_dir: where it was prepared; TFDS's own folder unless given.
        class_names: K names in the order of the labels, or lines of WordNet identifiers and names;
            they go before the names that come with the library and before the builder's.

    Returns:
        An `ImageSet` in the dataset's own order.

    Raises:
        UserError: an unknown or unprepared dataset, no such split or feature, no class names, or
            names that are in another order than the builder's.
    """
    try:
        return _load(name, split, data_dir, class_names)
    except UserError:
        raise
    # Three libraries read a prepared dataset, and each has its own ways to say what is damaged.
    except Exception as error:
        said = f"{first_line(error):.200}"
        raise UserError(f"dataset {name!r} is damaged ({said}): prepare it again") from error


def _load(
    name: str, split: str, data_dir: Path | str | None, class_names: Sequence[str] | None
) -> ImageSet:
    builder = _open_builder(name, data_dir)
    _check_features(builder, name)
    classes = _class_names(builder, name, class_names)
    records = _open_split(builder, name, split)
    # CUB's builder has no list of names: each record tells the name of its class.
    tells = class_names is None and names_of.built_in(name) is not None
    digests, labels, told = bytearray(), [], {}
    for index in range(len(records)):
        record = records[index]
        digests += hashlib.sha256(record["image"]).digest()
        labels.append(int(record["label"]))
        if tells and "label_name" in record:
            told[labels[-1]] = record["label_name"].decode()
    if labels and not -1 <= min(labels) <= max(labels) < len(classes):
        raise UserError(
            f"dataset {name}: labels run from {min(labels)} to {max(labels)}, but there are "
            f"{len(classes)} class names"
        )
    names_of.check_names(name, classes, told)
    return ImageSet(
        source=TfdsImages(
            records=records,
            digests=np.frombuffer(bytes(digests), np.uint8).reshape(len(labels), 32),
            prefix=f"{name}/{split}",
        ),
        labels=np.array(labels, np.int32),
        classes=classes,
    )


def open_tfds_pictures(name: str, split: str) -> tuple[SequenceImages, str]:
    """The pictures of a prepared dataset, without labels: its feature "image".

    Args:
        name: as for `load_tfds`; it lies in TFDS's own folder, or where TFDS_DATA_DIR says.
        split: "train", "test", "train[:50%]", ...

    Returns:
        The pictures, and the dataset's name with its version and split.

    Raises:
        UserError: an unknown or unprepared dataset, or no such split or feature.
    """
    builder = _open_builder(name, os.environ.get("TFDS_DATA_DIR"))
    _check_feature(builder, name, "image")
    records = _Pictures(_open_split(builder, name, split))
    return SequenceImages(records, prefix=f"{name}/{split}"), f"{builder.info.full_name}/{split}"


@dataclass(frozen=True, eq=False)
class _Pictures:
    """The pictures of records, as they are stored.

    Attributes:
        records: gives a dict of features at each position.
    """

    records: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> bytes:
        return self.records[index]["image"]


def _open_builder(name: str, data_dir: Path | str | None) -> Any:
    import tensorflow_datasets as tfds

    where = str(data_dir) if data_dir is not None else None
    try:
        # Without a format first: a prepared dataset says its own, and refuses another rudely.
        builder = tfds.builder(name, data_dir=where)
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(
            f"unknown dataset {name!r}: TFDS has none of that name, and none is prepared in "
            f"{where or 'its data folder'}"
        ) from error
    except (AssertionError, ValueError, OSError) as error:
        raise UserError(f"cannot open dataset {name!r}: {first_line(error)}") from error
    if not builder.info.splits:
        raise UserError(
            f"dataset {name!r} is not prepared in {builder.data_dir}: run once "
            f"`{_build_command(name, data_dir)}` (some need: pip install 'jaxcbm[tf]')"
        )
    return builder


def _open_split(builder: Any, name: str, split: str) -> Sequence[dict[str, Any]]:
    import tensorflow_datasets as tfds

    # Bytes as they are stored: they are what the digest is of, and Pillow decodes them later.
    images = [
        key
        for key, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    ]
    decoders = {key: tfds.decode.SkipDecoding() for key in images}
    try:
        return builder.as_data_source(split, decoders=decoders)
    except NotImplementedError as error:
        data_dir = Path(builder.data_dir).parent.parent
        raise UserError(
            f"dataset {name!r} in {builder.data_dir} is prepared as "
            f"{builder.info.file_format.value}, which cannot be read at random: run once "
            f"`{_build_command(name, data_dir / 'array_record')}` and read it from there"
        ) from error
    except (ValueError, KeyError) as error:
        raise UserError(
            f"cannot read split {split!r} of dataset {name!r}, which has "
            f"{', '.join(builder.info.splits)}: {first_line(error)}"
        ) from error


def _check_features(builder: Any, name: str) -> None:
    _check_feature(builder, name, "image")
    _check_feature(builder, name, "label")
    label = builder.info.features["label"]
    if tuple(label.shape or ()) != () or not np.issubdtype(np.dtype(label.np_dtype), np.integer):
        raise UserError(f"dataset {name!r}: feature 'label' is {label!r}, not one class an image")


def _check_feature(builder: Any, name: str, key: str) -> None:
    features = dict(builder.info.features.items())
    if key not in features:
        raise UserError(f"dataset {name!r} has no feature {key!r}: it has {', '.join(features)}")


def _class_names(builder: Any, name: str, given: Sequence[str] | None) -> tuple[str, ...]:
    label = builder.info.features["label"]
    own = tuple(getattr(label, "names", ()))
    # A plain integer is a label too; then nobody but the user knows how many classes there are.
    count = getattr(label, "num_classes", None) or len(given or ())
    # TFDS invents "0", "1", ... for classes that it has no names of.
    if own == tuple(map(str, range(len(own)))):
        own = ()
    return names_of.class_names(name, count, own, given)


def _build_command(name: str, data_dir: Path | str | None) -> str:
    place = f" --data-dir={data_dir}" if data_dir is not None else ""
    return f"python -m jaxcbm.data.sources.prepare_tfds --name={name}{place}"
