"""Where a phrase comes from: the record that stays with it through every filter."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from jaxcbm.errors import UserError
from jaxcbm.typed_json import from_json

Origins = Mapping[str, tuple["Origin", ...]]


@dataclass(frozen=True)
class Origin:
    """One place that gave a phrase; a phrase may have several.

    Attributes:
        source: what was asked: "ConceptNet", "language model", "text file", ...
        query: the question as it was put: a prompt, or the edge of a graph.
        class_name: the class it was asked about; "" where the source knows no classes.
        model: the language model that answered.
        seed: what its sampling started from.
        time: when the source answered, UTC, ISO 8601.
        licence: of the phrase, as SPDX names it; "" is unknown.
        weight: how sure the source is, in its own unit.

    >>> Origin("ConceptNet", class_name="dog", licence="CC-BY-SA-4.0").licence
    'CC-BY-SA-4.0'
    """

    source: str
    query: str = ""
    class_name: str = ""
    model: str = ""
    seed: int | None = None
    time: str = ""
    licence: str = ""
    weight: float | None = None


class Candidate(NamedTuple):
    """A phrase as a source gave it, not yet tidied.

    Attributes:
        phrase: the text.
        origin: where it comes from.
    """

    phrase: str
    origin: Origin


def utc_now() -> str:
    """The time to the second, as `Origin.time` holds it.

    >>> len(utc_now()), utc_now()[-1]
    (20, 'Z')
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def united(pairs: Iterable[tuple[str, Iterable[Origin]]]) -> dict[str, tuple[Origin, ...]]:
    """All origins of each phrase, each once, in the order given.

    >>> a, b = Origin("a"), Origin("b")
    >>> united([("tail", [a]), ("tail", [b, a])]) == {"tail": (a, b)}
    True
    """
    found: dict[str, dict[Origin, None]] = {}
    for phrase, origins in pairs:
        found.setdefault(phrase, {}).update(dict.fromkeys(origins))
    return {phrase: tuple(origins) for phrase, origins in found.items() if origins}


def origins_to_json(origins: Origins) -> dict[str, Any]:
    """Each origin once, and which of them each phrase has; a prompt often gave ten phrases.

    >>> origins_to_json({"tail": (Origin("a"),), "fur": (Origin("a"),)})
    {'origins': [{'source': 'a'}], 'origins_of': {'tail': [0], 'fur': [0]}}
    """
    numbers: dict[Origin, int] = {}
    for of_phrase in origins.values():
        for origin in of_phrase:
            numbers.setdefault(origin, len(numbers))
    rows = [{k: v for k, v in asdict(origin).items() if v not in ("", None)} for origin in numbers]
    of = {phrase: [numbers[origin] for origin in found] for phrase, found in origins.items()}
    return {"origins": rows, "origins_of": of}


def origins_from_json(value: Mapping[str, Any], where: str) -> dict[str, tuple[Origin, ...]]:
    """What `origins_to_json` wrote.

    Args:
        value: an object with "origins" and "origins_of", or with neither.
        where: the file, for the message.

    Raises:
        UserError: they are not of that form.
    """
    try:
        rows = [from_json(Origin, row, f"{where}: origins") for row in value.get("origins", [])]
        of = value.get("origins_of", {}).items()
        return {phrase: tuple(rows[_index(number)] for number in numbers) for phrase, numbers in of}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f'{where}: "origins" and "origins_of" do not fit together ({error}): remove both, or '
            "save the set again"
        ) from error


def _index(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"no origin {number!r:.40}")
    return number
