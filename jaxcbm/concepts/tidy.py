"""What a phrase must be: one line of visible text, given once."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from jaxcbm.concepts.filters.log import Dropped
from jaxcbm.concepts.provenance import Candidate, Origins, united
from jaxcbm.errors import UserError
from jaxcbm.lines import printable

MAX_CHARACTERS = 200


def tidy_lines(phrases: Iterable[tuple[str, Any]], where: str) -> tuple[tuple[str, ...], int, int]:
    """Tidy what a person wrote; a line that cannot be a phrase is a fault to tell.

    Args:
        phrases: a place ("line 3") and what stands there.
        where: the file, for the message.

    Returns:
        The phrases in their order, and how many lines were blank and how many duplicates.

    Raises:
        UserError: a line is no text or holds a control character, or no phrase is left.

    >>> tidy_lines([("line 1", "Tail"), ("line 2", "tail "), ("line 3", "")], "a.txt")
    (('Tail',), 1, 1)
    """
    kept: dict[str, str] = {}
    blank = duplicates = 0
    for place, phrase in phrases:
        phrase = one_line(phrase, f"{place} of {where}")
        key = phrase.casefold()
        if not phrase:
            blank += 1
        elif key in kept:
            duplicates += 1
        else:
            kept[key] = phrase
    if not kept:
        raise UserError(f"no concept phrases in {where}: give one short text a line")
    return tuple(kept.values()), blank, duplicates


def tidy_candidates(
    candidates: Iterable[Candidate],
) -> tuple[tuple[str, ...], tuple[Dropped, ...], Origins]:
    """Tidy what sources gave; a phrase that cannot be one is dropped with its reason.

    Returns:
        The phrases in their order, what was left out, and where each phrase comes from.

    Raises:
        UserError: no phrase is left.

    >>> from jaxcbm.concepts.provenance import Origin
    >>> tidy_candidates([Candidate("tail", Origin("a")), Candidate("fu\\0r", Origin("a"))])[1]
    (Dropped(phrase='fu\\\\x00r', reason='holds a control character'),)
    """
    kept: dict[str, str] = {}
    pairs, dropped = [], {}
    for phrase, origin in candidates:
        # Answers and graphs come composed and decomposed; they are one phrase.
        phrase = unicodedata.normalize("NFC", phrase)
        reason = _fault(phrase)
        if reason:
            dropped[printable(phrase)] = reason
        else:
            phrase = " ".join(phrase.split())
            pairs.append((kept.setdefault(phrase.casefold(), phrase), [origin]))
    drops = tuple(Dropped(*item) for item in dropped.items())
    if not kept:
        first = (
            f"; the first of {len(drops)}, '{drops[0].phrase}', {drops[0].reason}" if drops else ""
        )
        raise UserError(f"the sources gave no usable phrase{first}")
    return tuple(kept.values()), drops, united(pairs)


def one_line(phrase: Any, place: str) -> str:
    """The phrase with single spaces; a mark that no reader would see is a fault.

    Raises:
        UserError: no text, or a control character in it.
    """
    if not isinstance(phrase, str):
        raise UserError(f"{place} is no text: {phrase!r:.60}")
    if _has_control(phrase):
        raise UserError(f"{place} holds a control character: {phrase!r:.60} (remove it)")
    return " ".join(phrase.split())


def _fault(phrase: str) -> str:
    """Why a source's phrase cannot be a concept; "" if it can."""
    characters = len(" ".join(phrase.split()))
    if not characters:
        return "blank"
    if _has_control(phrase):
        return "holds a control character"
    return f"{characters:,} characters" if characters > MAX_CHARACTERS else ""


def _has_control(phrase: str) -> bool:
    return any(unicodedata.category(c) in ("Cc", "Cs") for c in phrase.replace("\t", " "))
