"""ImageNet's class names out of WordNet 3.0, whose offsets its identifiers are."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxcbm.errors import UserError

# Debian's package wordnet-base, and Princeton's own archive.
PLACES = (
    Path("/usr/share/wordnet/data.noun"),
    Path("/usr/local/WordNet-3.0/dict/data.noun"),
)
# WordNet's first word, and what to say instead, where that word alone means two things.
_TOLD_APART = {
    "n02012849": ("crane", "crane bird"),
    "n02113023": ("Pembroke", "Pembroke Welsh corgi"),
    "n02113186": ("Cardigan", "Cardigan Welsh corgi"),
    "n03126707": ("crane", "construction crane"),
    "n03710721": ("maillot", "one-piece swimsuit"),
}


def is_synset(label: str) -> bool:
    """Whether a label is the identifier of a noun in WordNet.

    >>> is_synset("n01440764"), is_synset("tench")
    (True, False)
    """
    return re.fullmatch(r"n\d{8}", label) is not None


def find_data_noun() -> Path | None:
    """WordNet's file of nouns where it is installed, else None."""
    return next((place for place in PLACES if place.is_file()), None)


def read_data_noun(path: Path) -> tuple[str, ...]:
    """Every noun of WordNet, as lines such as "n01440764 tench, Tinca tinca".

    Args:
        path: WordNet's `data.noun`: a line a synset, with its offset and its words.

    Raises:
        UserError: the file is something else.

    Reference:
        The format is described in WordNet's manual page wndb(5WN).
    """
    lines = []
    with path.open(encoding="latin-1") as file:
        for number, line in enumerate(file, start=1):
            if line.startswith("  "):  # the licence
                continue
            try:
                offset, _, _, count, *rest = line.split()
                words = rest[: 2 * int(count, 16) : 2]
                lines.append(f"n{int(offset):08d} " + ", ".join(words).replace("_", " "))
            except ValueError as error:
                raise UserError(f"{path} is no WordNet data.noun: see line {number}") from error
    return tuple(lines)


def synset_names(synsets: Sequence[str], lines: Iterable[str]) -> tuple[str, ...]:
    """The first word of each synset; where two have the same, what tells them apart.

    Args:
        synsets: K identifiers such as "n01440764".
        lines: "n01440764 tench, Tinca tinca", in any order; there may be more than asked for.

    Returns:
        K names, all different.

    Raises:
        UserError: an identifier is missing (another version of WordNet has others), or two classes
            would have one name.

    >>> synset_names(["n01443537"], ["n01440764 tench, Tinca tinca", "n01443537 goldfish"])
    ('goldfish',)
    """
    words = {}
    for line in lines:
        synset, _, rest = line.replace("\t", " ").partition(" ")
        word = rest.split(",")[0].strip()
        plain, clear = _TOLD_APART.get(synset, ("", ""))
        words[synset] = clear if word == plain else word
    missing = [synset for synset in synsets if not words.get(synset)]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(synsets)} classes have no name in the given WordNet file, "
            f"{missing[0]} first: ImageNet's identifiers are WordNet 3.0's"
        )
    names = tuple(words[synset] for synset in synsets)
    (name, times), *_ = Counter(map(str.casefold, names)).most_common(1)
    if times > 1:
        raise UserError(f"{times} classes are called {name!r}: tell them apart in the class file")
    return names
