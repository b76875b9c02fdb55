"""The datasets an experiment can name: from settings to the official train and test images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from jaxcbm.data.birds.dials import Dials
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.sources.class_names import read_class_file
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Count, Range, Share, Whole


class OfficialSplits(NamedTuple):
    """The images of a dataset as its makers divided them.

    Attributes:
        train: also what validation is taken from, where the data has none.
        test: None where the data has no such split.
        valid: None where the data has no such split.
    """

    train: ImageSet
    test: ImageSet | None
    valid: ImageSet | None = None


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split.

    Attributes:
        name: `birds`, `fashion_mnist`, `folder` or `tfds`.
        root: `folder`: the directory of class folders, perhaps under train/, test/ and valid/ (or
            val/, validation/); `fashion_mnist`: the folder of IDX files ("" for the Debian
            package's).
        tfds_name: `tfds`: the builder, such as `cifar10`.
        tfds_data_dir: `tfds`: where it was prepared ("" for the TFDS default).
        train_split: `tfds`: name of the official train split.
        test_split: `tfds`: name of the official test split.
        classes: `tfds`: a file of class names, one a line, or of WordNet identifiers with names
            ("" for the names that come with the library, else the builder's own).
        attributes: `tfds` caltech_birds2011: the folder CUB_200_2011 with its attribute files
            ("" for no annotations).
        attribute_certainty: answers of annotators less sure than this are unknown: 2 guessing,
            3 probably, 4 definitely.
        attribute_votes: replace each image's answers by the majority of its class in train.
        images_per_class: `birds`: train images of each species; test has half as many.
        dials: `birds`: what makes them harder to learn.
        seed: of the split and of the birds.
        valid_fraction: part of train held out for validation, stratified, where the data has no
            validation split of its own.
        test_fraction: part held out for test where the data has no official test split.
        protocol: `official`, or `pooled`: all images, test included, re-split at random, as the
            paper's code does (`released`, an older name of it, is taken too).
        check_overlap: fail if one picture lies in two splits.
    """

    name: Literal["birds", "fashion_mnist", "folder", "tfds"] = "birds"
    root: str = ""
    tfds_name: str = ""
    tfds_data_dir: str = ""
    train_split: str = "train"
    test_split: str = "test"
    classes: str = ""
    attributes: str = ""
    attribute_certainty: Annotated[int, Range(2, 4)] = 3
    attribute_votes: bool = False
    images_per_class: Count = 60
    dials: Dials = field(default_factory=Dials)
    seed: Whole = 0
    valid_fraction: Share = 0.15
    test_fraction: Annotated[float, Range(0, 1, above=True)] = 0.2
    protocol: Literal["official", "pooled", "released"] = "official"
    check_overlap: bool = True

    @property
    def annotated(self) -> bool:
        """Whether its images come with annotations of their concepts."""
        return self.name == "birds" or bool(self.attributes)


def load_dataset(config: DataConfig) -> OfficialSplits:
    """Official train, test and validation images; None where the data has no such split.

    Raises:
        UserError: a setting is missing or of another dataset, or the data is not there.
    """
    if config.dials.turned and config.name != "birds":
        raise UserError(
            f"config.data.dials.{next(iter(config.dials.turned))} is a dial of the birds: set it "
            f"to 0 for {config.name}"
        )
    return LOADERS[config.name](config)


def _birds(config: DataConfig) -> OfficialSplits:
    from jaxcbm.data.birds.birds import load_birds

    count = config.images_per_class
    load = partial(load_birds, seed=config.seed, dials=config.dials)
    train = load("train", images_per_class=count)
    return OfficialSplits(train, load("test", images_per_class=max(count // 2, 1)))


def _fashion_mnist(config: DataConfig) -> OfficialSplits:
    from jaxcbm.data.sources.fashion_mnist import load_fashion_mnist

    where = {"folder": Path(config.root)} if config.root else {}
    return OfficialSplits(*(load_fashion_mnist(split, **where) for split in ("train", "test")))


def _folder(config: DataConfig) -> OfficialSplits:
    from jaxcbm.data.sources.folder import folder_splits

    if not config.root:
        raise UserError("config.data.root is empty: give --config.data.root=FOLDER")
    root = Path(config.root)
    splits = folder_splits(root)
    if not splits:
        return OfficialSplits(ImageSet.from_folder(root), None)
    test, valid = (
        ImageSet.from_folder(root, name) if name in splits else None for name in ("test", "valid")
    )
    return OfficialSplits(ImageSet.from_folder(root, "train"), test, valid)


def _tfds(config: DataConfig) -> OfficialSplits:
    from jaxcbm.data.sources.tfds import load_tfds

    if not config.tfds_name:
        raise UserError("config.data.tfds_name is empty: give --config.data.tfds_name=cifar10")
    names = read_class_file(Path(config.classes)) if config.classes else None
    options = {"data_dir": config.tfds_data_dir or None, "class_names": names}
    train = load_tfds(config.tfds_name, config.train_split, **options)
    test = load_tfds(config.tfds_name, config.test_split, **options)
    both = _with_attributes(config, train, test) if config.attributes else (train, test)
    return OfficialSplits(*both)


def _with_attributes(
    config: DataConfig, train: ImageSet, test: ImageSet
) -> tuple[ImageSet, ImageSet]:
    from jaxcbm.data.sources.cub import class_votes, read_cub_attributes, with_attributes

    attributes = read_cub_attributes(
        Path(config.attributes), minimum_certainty=config.attribute_certainty
    )
    train, test = with_attributes(train, attributes), with_attributes(test, attributes)
    return class_votes(train, test) if config.attribute_votes else (train, test)


LOADERS: dict[str, Callable[[DataConfig], OfficialSplits]] = {
    "birds": _birds,
    "fashion_mnist": _fashion_mnist,
    "folder": _folder,
    "tfds": _tfds,
}
