"""Filters that read phrases alone: too long, or said already.

A filter takes D phrases (and what else it looks at) and returns D reasons, "" where a phrase stays.
These are idempotent.
"""

from collections.abc import Sequence

from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.errors import UserError


def too_long(phrases: Sequence[str], at_most: int = 30) -> list[str]:
    """Phrases of more characters than a reader takes in at a glance.

    Args:
        phrases: in any order.
        at_most: characters, blanks included.

    Raises:
        UserError: `at_most` below 1.

    Reference: Oikarinen et al. 2023 (arXiv 2304.06129), section 3.1.

    >>> too_long(["red crown", "a crown that is as red as red can be"])
    ['', '36 characters']
    """
    if at_most < 1:
        raise UserError(
            f"filter length: at most {at_most} characters leaves nothing: give 1 or more"
        )
    return [f"{len(phrase)} characters" if len(phrase) > at_most else "" for phrase in phrases]


def near_duplicates(phrases: Sequence[str]) -> list[str]:
    """Phrases that an earlier one says but for case, articles, punctuation or number.

    Which meanings stay does not depend on the order of phrases; which wording stays does. A reason
    names the phrase that stays.

    >>> near_duplicates(["red crown", "hooked bill", "the red crowns"])
    ['', '', "same as 'red crown'"]
    """
    first: dict[str, str] = {}
    reasons = []
    for phrase in phrases:
        key = phrase_key(phrase)
        reasons.append(f"same as {first[key]!r}" if key in first else "")
        first.setdefault(key, phrase)
    return reasons
