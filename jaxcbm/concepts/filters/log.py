"""What the filters did to a concept set: which ran, how set, what each dropped and why."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dropped:
    """A phrase that a filter left out.

    Attributes:
        phrase: the text.
        reason: in words.
    """

    phrase: str
    reason: str


@dataclass(frozen=True)
class FilterRun:
    """One filter, run once over one set.

    Attributes:
        name: of the filter.
        settings: its thresholds, fit for JSON.
        kept: phrases after it.
        dropped: every phrase that it left out.

    >>> FilterRun("length", {"max_characters": 30}, 12, (Dropped("x" * 31, "31 characters"),)).kept
    12
    """

    name: str
    settings: dict[str, Any]
    kept: int
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True)
class FilterLog:
    """What a saved set says of filters: the runs, oldest first."""

    filters: tuple[FilterRun, ...] = ()
