"""What a bird can look like, and the species of the quick start.

A bird is a tuple of value positions, one for each attribute of `ATTRIBUTES`. The species stand in
species.csv: birds of one genus share most of their attributes, so that no single one decides.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

Values = tuple[int, ...]


@dataclass(frozen=True)
class Attribute:
    """One way in which birds differ.

    Attributes:
        name: the column in species.csv.
        values: short words for the values.
        phrases: what each value is called in concept sets and captions.
        articles: what stands before each phrase in a sentence ("a ", "an " or nothing).
    """

    name: str
    values: tuple[str, ...]
    phrases: tuple[str, ...]
    articles: tuple[str, ...]


def _attribute(name: str, pattern: str, values: str, article: str | None = "a ") -> Attribute:
    """`values` are words, or word=words for the phrase where they differ; `pattern` holds {}."""
    pairs = [value.strip().partition("=") for value in values.split(",")]
    words = tuple(word for word, _, _ in pairs)
    phrases = tuple(pattern.format(long or word) for word, _, long in pairs)
    articles = tuple(
        "" if not article else "an " if phrase[0] in "aeiou" else article for phrase in phrases
    )
    return Attribute(name, words, phrases, articles)


ATTRIBUTES = (
    _attribute("crown", "{} crown", "red, yellow, blue, black, white, brown, green"),
    _attribute(
        "head", "{}", "round=smooth round head, tuft=raised crest, swept=crest swept backwards"
    ),
    _attribute("face", "{}", "plain=plain face, stripe=dark eye stripe, ring=white eye ring"),
    _attribute(
        "bill_shape",
        "{} bill",
        "cone=short thick, straight=long straight, hooked, curved=long curved, flat=broad flat",
    ),
    _attribute("bill_colour", "{} bill", "black, yellow, red, grey"),
    _attribute("back", "{} back", "brown, grey, black, blue, green, red"),
    _attribute("belly", "{} belly", "white, yellow, orange, grey, blue, pink"),
    _attribute(
        "breast", "{} breast", "plain=plain, spots=spotted, stripes=striped, band=dark-banded"
    ),
    _attribute(
        "wing",
        "{}",
        "plain=plain wing, bars=barred wing, spots=spotted wing, patch=white wing patch",
    ),
    _attribute("tail", "{} tail", "forked, rounded, long=long pointed, short=short square"),
    _attribute("tail_mark", "{}", "plain=plain tail, bands=banded tail, tip=white-tipped tail"),
    _attribute("leg_colour", "{} legs", "black, yellow, red, grey", article=None),
    _attribute("leg_length", "{} legs", "long, short", article=None),
    _attribute("size", "{} bird", "small, large"),
)
SIZES = tuple(len(attribute.values) for attribute in ATTRIBUTES)
PHRASES = tuple(phrase for attribute in ATTRIBUTES for phrase in attribute.phrases)


@dataclass(frozen=True)
class Species:
    """A class of the quick start.

    Attributes:
        name: of the species.
        values: what its birds typically look like, attribute by attribute.
    """

    name: str
    values: Values


@cache
def all_species() -> tuple[Species, ...]:
    """The species of the quick start, always the same, in alphabetical order.

    >>> len(all_species()), all_species()[0].name
    (48, 'barred fernwit')
    """
    text = resources.files("jaxcbm.data.birds").joinpath("species.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(
        Species(row["name"], tuple(a.values.index(row[a.name]) for a in ATTRIBUTES)) for row in rows
    )


def one_hot(values_NxM: np.ndarray) -> np.ndarray:
    """Which phrases are true of birds: float32 [N, A] over `PHRASES`, as many ones as attributes.

    >>> one_hot(np.zeros((1, len(ATTRIBUTES)), int)).sum()
    np.float32(14.0)
    """
    blocks = [np.eye(size, dtype=np.float32)[values_NxM[:, i]] for i, size in enumerate(SIZES)]
    return np.concatenate(blocks, axis=1)


def distance_to_species(values_NxM: np.ndarray) -> np.ndarray:
    """In how many attributes N birds differ from each species, int [N, 48].

    >>> distance_to_species(np.array([all_species()[3].values]))[0, 3]
    np.int64(0)
    """
    species_SxM = np.array([species.values for species in all_species()])
    return (values_NxM[:, None, :] != species_SxM[None, :, :]).sum(axis=2)
