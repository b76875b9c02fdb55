"""Phrases from tables of attributes: CUB's file layout, and the painted birds' own."""

import re
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from jaxcbm.concepts.provenance import Candidate, Origin, utc_now
from jaxcbm.concepts.sources.plain_file import read_lines
from jaxcbm.concepts.sources.source import checked_classes
from jaxcbm.errors import UserError

_LINE = re.compile(r"(?:\d+\s+)?(\S+::\S.*)")


def from_attribute_table(
    classes: Sequence[str], path: str | Path, *, licence: str = ""
) -> list[Candidate]:
    """The attributes of a table in the layout of CUB-200-2011's attributes.txt, as words.

    Args:
        classes: K names; the table does not know them, and every class is offered every attribute.
        path: lines such as "13 has_bill_shape::hooked", with or without the number.
        licence: of the table.

    Returns:
        Candidates in the order of the table; two attributes that would be one phrase say their
        group as well.

    Raises:
        UserError: bad class names, no such file, or a line of another layout.
    """
    from jaxcbm.data.sources.cub import phrase_of

    checked_classes(classes)
    attributes = []
    for number, line in read_lines(path):
        found = _LINE.fullmatch(line)
        if found is None:
            raise UserError(f"{path}, line {number}: no line of NUMBER GROUP::VALUE: {line!r:.60}")
        attributes.append(found.group(1))
    if not attributes:
        raise UserError(f"no attributes in {path}: give lines of NUMBER GROUP::VALUE")
    phrases = [phrase_of(attribute) for attribute in attributes]
    time = utc_now()
    return [
        Candidate(
            phrase if phrases.count(phrase) == 1 else _with_group(attribute),
            Origin(f"attribute table {Path(path).name}", attribute, time=time, licence=licence),
        )
        for phrase, attribute in zip(phrases, attributes, strict=True)
    ]


def from_painted_birds(classes: Sequence[str]) -> list[Candidate]:
    """What the birds of the built-in dataset look like, by species.

    Args:
        classes: species of the built-in birds.

    Returns:
        The 14 phrases of each species, by class.

    Raises:
        UserError: bad class names, or none of them is a species.

    >>> [candidate.phrase for candidate in from_painted_birds(["barred fernwit"])][:2]
    ['black crown', 'crest swept backwards']
    """
    from jaxcbm.data.birds.species import ATTRIBUTES, all_species

    names = checked_classes(classes)
    species = {one.name: one for one in all_species()}
    unknown = [name for name in names if name not in species]
    if len(unknown) == len(names):
        raise UserError(
            f"{unknown[0]!r} is no species of the built-in birds: give names such as "
            f"{next(iter(species))!r}"
        )
    if unknown:
        logging.warning("%d classes are no species of the built-in birds", len(unknown))
    time = utc_now()
    return [
        Candidate(
            attribute.phrases[value],
            Origin("painted birds", attribute.name, name, time=time, licence="Apache-2.0"),
        )
        for name in names
        if name in species
        for attribute, value in zip(ATTRIBUTES, species[name].values, strict=True)
    ]


def _with_group(attribute: str) -> str:
    """Wing colour and wing pattern may have one value: then the group belongs to the phrase."""
    group, _, value = attribute.removeprefix("has_").partition("::")
    value = re.sub(r"_?\(.*\)", "", value)
    return f"{value} {group}".replace("_", " ")
