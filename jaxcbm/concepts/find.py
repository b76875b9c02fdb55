"""A name among others, and the closest ones where it is not among them."""

import difflib
from collections.abc import Sequence

from jaxcbm.errors import UserError


def find(phrase: str, phrases: Sequence[str], what: str = "in the concept set") -> str:
    """The phrase as the set spells it; case and surplus blanks do not matter.

    Raises:
        UserError: there is none; names the closest.
    """
    if (wanted := _plain(phrase)) in (known := {_plain(each): each for each in phrases}):
        return known[wanted]
    raise not_among(phrase, phrases, what)


def not_among(phrase: str, phrases: Sequence[str], what: str = "in the concept set") -> UserError:
    """What to raise for a name that is not there.

    >>> print(not_among("blue door", ("a blue roof", "brown door", "chimney", "fence")))
    'blue door' is not in the concept set; the closest are 'a blue roof', 'brown door', 'fence'
    """
    known = {_plain(each): each for each in phrases}
    near = difflib.get_close_matches(_plain(phrase), known, n=3, cutoff=0.0)
    closest = ", ".join(repr(known[each]) for each in near)
    return UserError(f"{phrase!r} is not {what}; the closest are {closest}")


def _plain(phrase: str) -> str:
    return " ".join(phrase.casefold().split())
