"""The attributes of CUB-200-2011 as annotations: what people saw on each of its photographs.

TFDS's caltech_birds2011 has boxes and masks but no attributes; they are in the data's own archive,
beside the photographs:

    attributes.txt                         ID GROUP::VALUE; also beside or above CUB_200_2011/
    CUB_200_2011/images.txt                ID CLASS/FILE
    CUB_200_2011/attributes/image_attribute_labels.txt
                                           IMAGE ATTRIBUTE PRESENT CERTAINTY SECONDS
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.data.sources.tfds import TfdsImages
from jaxcbm.errors import UserError
from jaxcbm.text_file import read_text

_CERTAINTIES = {1: "not visible", 2: "guessing", 3: "probably", 4: "definitely"}
_FILENAME_KEY = "image/filename"


@dataclass(frozen=True, eq=False)
class CubAttributes:
    """What annotators said of every photograph of CUB-200-2011.

    Attributes:
        values: float32 [N, A]: 1 present, 0 absent, NaN unknown.
        phrases: what each of the A columns says.
        rows: the row of each photograph, by its name "CLASS/FILE".
    """

    values: np.ndarray
    phrases: tuple[str, ...]
    rows: dict[str, int]


def read_cub_attributes(folder: Path, *, minimum_certainty: int = 3) -> CubAttributes:
    """Read the attribute files of CUB-200-2011; about five seconds.

    Args:
        folder: CUB_200_2011, or the folder that its archive was unpacked into.
        minimum_certainty: answers less certain are unknown: 2 keeps guesses, 3 what is "probably"
            so, 4 only what is "definitely" so. What was not visible is always unknown.

    Returns:
        `CubAttributes` of 11,788 photographs and 312 attributes, in the published data.

    Raises:
        UserError: a file is missing or is not in its published form.

    Reference:
        Wah, Branson, Welinder, Perona and Belongie, The Caltech-UCSD Birds-200-2011 Dataset,
        CNS-TR-2011-001.
    """
    if minimum_certainty not in (2, 3, 4):
        raise UserError(
            f"config.data.attribute_certainty is {minimum_certainty}: choose 2 (guessing), "
            "3 (probably) or 4 (definitely)"
        )
    labels = _find(folder, "attributes/image_attribute_labels.txt")
    names = dict(_numbered(_find(folder, "attributes.txt", "attributes/attributes.txt")))
    images = dict(_numbered(_find(folder, "images.txt")))
    columns = {number: column for column, number in enumerate(names)}
    rows = {number: row for row, number in enumerate(images)}
    values = np.full((len(rows), len(columns)), np.nan, np.float32)
    with labels.open(encoding="ascii", errors="replace") as file:
        for line_number, line in enumerate(file, start=1):
            # The published file has lines with one field too many; the first four are sound.
            fields = line.split(None, 4)[:4]
            try:
                image, attribute, present, certainty = map(int, fields)
                row, column = rows[image], columns[attribute]
                if present not in (0, 1) or certainty not in _CERTAINTIES:
                    raise ValueError
            except (ValueError, KeyError):
                raise UserError(
                    f"{labels}, line {line_number}: no line of IMAGE ATTRIBUTE PRESENT CERTAINTY: "
                    f"{line.strip()!r:.60}"
                ) from None
            if certainty >= minimum_certainty:
                values[row, column] = present
    phrases = _phrases(tuple(names.values()))
    return CubAttributes(values, phrases, {images[number]: row for number, row in rows.items()})


def phrase_of(attribute: str) -> str:
    """An attribute as a person would say it.

    >>> phrase_of("has_wing_color::blue"), phrase_of("has_bill_shape::curved_(up_or_down)")
    ('blue wing', 'curved bill')
    >>> phrase_of("has_bill_length::shorter_than_head"), phrase_of("has_size::small_(5_-_9_in)")
    ('bill shorter than head', 'small bird')
    >>> phrase_of("has_wing_shape::rounded-wings"), phrase_of("has_shape::owl-like")
    ('rounded wings', 'owl-like bird')
    """
    group, _, value = attribute.removeprefix("has_").partition("::")
    part, _, kind = group.rpartition("_")
    # What is said without a part is said of the bird; so are its main colours.
    part = part.replace("_", " ") if part not in ("", "primary") else "bird"
    value = re.sub(r"_?\(.*\)", "", value).replace("_", " ")
    if kind == "length":
        return f"{part} {value}"
    # Some shapes name their part already: "forked tail", "rounded-wings".
    named = value
    for ending in (part, f"{part}s"):
        if value.endswith((f" {ending}", f"-{ending}")):
            named = f"{value[: -len(ending) - 1]} {ending}"
    if kind == "shape" and (named != value or named.endswith(f" {part}")):
        return named
    return f"{value} {part}"


def with_attributes(images: ImageSet, attributes: CubAttributes) -> ImageSet:
    """Annotate the images of TFDS's caltech_birds2011, which knows each photograph's file name.

    Args:
        images: N images from `load_tfds("caltech_birds2011", ...)`.
        attributes: what `read_cub_attributes` gave.

    Returns:
        The same images with float32 [N, A] annotations.

    Raises:
        UserError: another dataset, or a photograph that the attribute files do not have.
    """
    source = images.source
    if not isinstance(source, TfdsImages) or (
        len(images) and _FILENAME_KEY not in source.records[0]
    ):
        raise UserError(
            "config.data.attributes is for the TFDS dataset caltech_birds2011, whose records have "
            f"the feature {_FILENAME_KEY!r}: remove it for other data"
        )
    rows = np.zeros(len(images), np.int64)
    for index in range(len(images)):
        name = "/".join(source.records[index][_FILENAME_KEY].decode().split("/")[-2:])
        if name not in attributes.rows:
            raise UserError(f"photograph {name} is not in images.txt of the attribute folder")
        rows[index] = attributes.rows[name]
    return replace(
        images, annotations=attributes.values[rows], annotation_phrases=attributes.phrases
    )


def class_votes(train: ImageSet, test: ImageSet) -> tuple[ImageSet, ImageSet]:
    """Every image gets the majority answer of its class, as concept bottlenecks on CUB often have.

    The votes are of train alone. An attribute is unknown for a class whose answers are tied or all
    unknown. Afterwards annotations say nothing about an image that its label does not say.

    Reference:
        Koh et al., Concept Bottleneck Models, 2020, arXiv 2007.04612.
    """
    votes_KxA = majority(train.annotations, train.labels, len(train.classes))
    return (
        replace(train, annotations=_rows_of_classes(votes_KxA, train.labels)),
        replace(test, annotations=_rows_of_classes(votes_KxA, test.labels)),
    )


def majority(annotations_NxA: np.ndarray | None, labels_N: np.ndarray, classes: int) -> np.ndarray:
    """The answer that most images of each of K classes have, float32 [K, A].

    Answers are 1, 0 and NaN; NaN comes out where the known ones are tied or there are none.

    >>> nan = np.nan
    >>> annotations = np.array([[1, 0], [1, nan], [0, 1], [0, nan]], np.float32)
    >>> majority(annotations, np.array([0, 0, 0, 1], np.int32), 2)
    array([[ 1., nan],
           [ 0., nan]], dtype=float32)
    """
    if annotations_NxA is None:
        raise ValueError("a majority of no annotations")
    known = labels_N >= 0
    # Present counts for, absent against, unknown nothing.
    ballots_NxA = np.nan_to_num(2 * annotations_NxA[known] - 1, nan=0.0)
    sums_KxA = np.zeros((classes, annotations_NxA.shape[1]), np.float32)
    np.add.at(sums_KxA, labels_N[known], ballots_NxA)
    return np.where(sums_KxA == 0, np.float32(np.nan), (sums_KxA > 0).astype(np.float32))


def _rows_of_classes(votes_KxA: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    rows_NxA = votes_KxA[labels_N]
    rows_NxA[labels_N < 0] = np.nan
    return rows_NxA


def _phrases(attributes: tuple[str, ...]) -> tuple[str, ...]:
    """Phrases that all differ: what two attributes would share says its group as well."""
    phrases = [phrase_of(attribute) for attribute in attributes]
    keys = [phrase_key(phrase) for phrase in phrases]
    return tuple(
        phrase if keys.count(key) == 1 else attribute.removeprefix("has_").replace("_", " ")
        for phrase, key, attribute in zip(phrases, keys, attributes, strict=True)
    )


def _find(folder: Path, *names: str) -> Path:
    if not folder.is_dir():
        raise UserError(f"config.data.attributes={folder}: no such folder")
    for place in (folder, folder / "CUB_200_2011", folder.resolve().parent):
        for name in names:
            if (place / name).is_file():
                return place / name
    raise UserError(
        f"no {names[0]} in {folder}: give the folder CUB_200_2011 of the data's own archive"
    )


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a number and a word."""
    lines = read_text(path).splitlines()
    for line_number, line in enumerate(lines, start=1):
        number, _, text = line.strip().partition(" ")
        if not (number.isdecimal() and len(number) < 10 and text):
            raise UserError(f"{path}, line {line_number}: no line of NUMBER TEXT: {line!r:.60}")
        yield int(number), text.strip()
