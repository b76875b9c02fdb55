"""What a person might write under a picture of a bird; only true things."""

from collections.abc import Sequence

import numpy as np

from jaxcbm.data.birds.species import ATTRIBUTES, Values

# `parts` reads like "a red crown, long legs and a forked tail"; the size may stand before "bird".
_OF_THE_BIRD = (
    "a {size}bird with {parts}",
    "a {size}bird that has {parts}",
    "a photo of a {size}bird with {parts}",
    "a picture of a {size}bird with {parts}",
    "this {size}bird has {parts}",
    "the {size}bird shows {parts}",
    "{parts} on a {size}bird",
)
_OF_ITS_PARTS = ("one can see {parts}", "note {parts}", "{parts}")
_SIZE = next(i for i, attribute in enumerate(ATTRIBUTES) if attribute.name == "size")


def write_captions(values: Values, rng: np.random.Generator, count: int = 6) -> tuple[str, ...]:
    """Describe a bird several times, each time by 1 to 5 of its attributes in a random order.

    A third of the captions are bare phrases or lists of phrases; `rng` is the only source of
    chance.

    >>> write_captions((0,) * 14, np.random.default_rng(0), count=2)
    ('short thick bill', 'a plain face, black legs and a short thick bill on a bird')
    """
    return tuple(_caption(values, rng) for _ in range(count))


def describe(values: Values, names: Sequence[str] | None = None) -> str:
    """One sentence that names attributes, or some of them, in their usual order: a class prompt.

    >>> describe((0,) * 14, ["crown", "tail", "size"])
    'a small bird with a red crown and a forked tail'
    """
    chosen = [i for i, a in enumerate(ATTRIBUTES) if names is None or a.name in names]
    parts = [_part(i, values[i]) for i in chosen if i != _SIZE]
    size = ATTRIBUTES[_SIZE].values[values[_SIZE]] + " " if _SIZE in chosen else ""
    return f"a {size}bird with {_and(parts)}" if parts else f"a {size}bird"


def _caption(values: Values, rng: np.random.Generator) -> str:
    named = rng.permutation(len(ATTRIBUTES))[: rng.integers(1, 6)].tolist()
    phrases = [ATTRIBUTES[i].phrases[values[i]] for i in named]
    style = rng.random()
    if style < 0.2:
        return phrases[0]
    if style < 0.33:
        return ", ".join(phrases)
    parts = [_part(i, values[i]) for i in named if i != _SIZE]
    if not parts:
        return _part(_SIZE, values[_SIZE])
    size = ATTRIBUTES[_SIZE].values[values[_SIZE]] + " " if _SIZE in named else ""
    # A size has no place in a sentence without "bird".
    sentences = _OF_THE_BIRD if size else _OF_THE_BIRD + _OF_ITS_PARTS
    return sentences[rng.integers(len(sentences))].format(size=size, parts=_and(parts))


def _part(index: int, value: int) -> str:
    return ATTRIBUTES[index].articles[value] + ATTRIBUTES[index].phrases[value]


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
