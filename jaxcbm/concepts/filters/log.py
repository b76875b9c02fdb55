"""What the filters did to a concept set: which ran, how set, what each dropped and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxcbm.errors import UserError


class Dropped(NamedTuple):
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
    settings: Mapping[str, Any]
    kept: int
    dropped: tuple[Dropped, ...]

    def to_json(self) -> dict[str, Any]:
        """An object that `filter_runs_from_json` reads."""
        return {
            "name": self.name,
            "settings": dict(self.settings),
            "kept": self.kept,
            "dropped": [drop._asdict() for drop in self.dropped],
        }


def filter_runs_from_json(value: Iterable[Mapping[str, Any]], where: str) -> tuple[FilterRun, ...]:
    """The runs in a saved set, oldest first.

    Raises:
        UserError: they are not of the form that `FilterRun.to_json` gives.
    """
    try:
        return tuple(
            FilterRun(
                str(run["name"]),
                dict(run["settings"]),
                int(run["kept"]),
                tuple(Dropped(str(d["phrase"]), str(d["reason"])) for d in run["dropped"]),
            )
            for run in value
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{where}: "filters" is no log of filters ({type(error).__name__}: {error}): remove it'
        ) from error
