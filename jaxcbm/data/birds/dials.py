"""Dials that make the birds harder to learn, one cause at a time."""

from dataclasses import dataclass, fields

import numpy as np

from jaxcbm.data.birds.species import PHRASES
from jaxcbm.typed_json import Share


@dataclass(frozen=True)
class Dials:
    """What a model of the birds has to cope with, each from 0, which changes nothing, to 1.

    Test is what tells the harm: its annotations stay true and it bears no mark.

    Attributes:
        annotation_noise: share of the entries of train and validation annotations that are flipped.
        missing_concepts: share of the birds' phrases that the concept set and annotations lack.
        shortcut: correlation, in train and validation, of a species with a mark that some of its
            pictures bear.
        nuisances: strength of what hides a bird: clutter behind it, leaves before it, odd light.
        atypical: share of individuals with one more trait that is not their species'.
    """

    annotation_noise: Share = 0.0
    missing_concepts: Share = 0.0
    shortcut: Share = 0.0
    nuisances: Share = 0.0
    atypical: Share = 0.0

    @property
    def turned(self) -> dict[str, float]:
        """Those that are not at zero.

        >>> Dials(shortcut=0.5).turned
        {'shortcut': 0.5}
        """
        return {name: value for name, value in vars(self).items() if value}


DIALS = tuple(field.name for field in fields(Dials))


def with_noise(annotations_NxA: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Annotations of which a share is flipped; a greater share flips those of a smaller one.

    >>> with_noise(np.zeros((1, 3), np.float32), 1.0, np.random.default_rng(0)).tolist()
    [[1.0, 1.0, 1.0]]
    """
    return np.where(rng.random(annotations_NxA.shape) < share, 1 - annotations_NxA, annotations_NxA)


def withheld_phrases(share: float, seed: int) -> frozenset[str]:
    """The phrases of birds that nobody thought of; a greater share holds those of a smaller one.

    >>> len(withheld_phrases(0.5, seed=0)), withheld_phrases(0.0, seed=0)
    (28, frozenset())
    """
    order = np.random.default_rng(seed).permutation(len(PHRASES))
    return frozenset(PHRASES[i] for i in order[: round(share * len(PHRASES))])


def marked_share(correlation: float, species: int) -> float:
    """How many pictures of a species bear its mark, for a correlation of mark and species.

    With S equally frequent species and a share p of marked pictures, all by their own species'
    mark, the correlation (phi) of a mark with its species is sqrt(p (S - 1) / (S - p)).

    >>> marked_share(0.0, 48), marked_share(1.0, 48), round(marked_share(0.5, 48), 3)
    (0.0, 1.0, 0.254)
    """
    square = correlation**2
    return square * species / (species - 1 + square)
