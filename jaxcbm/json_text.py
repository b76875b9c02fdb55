"""JSON that somebody may have handed in."""

import json
from collections.abc import Iterable
from typing import Any

# Deeper than anything that is written here; Python's own functions end near a thousand.
_DEEPEST = 100


def parse_json(text: str | bytes) -> Any:
    """What a text says, once it is known that every function can walk through it.

    Raises:
        ValueError: no JSON, no UTF-8, a whole number of thousands of digits, or objects and lists
            within each other more than a hundred times.

    >>> parse_json("[" * 101 + "]" * 101)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 100 times
    """
    deep = ValueError(f"nested more than {_DEEPEST} times")
    try:
        value = json.loads(text)
    except RecursionError:
        raise deep from None
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise deep


def _inside(value: Any) -> Iterable[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in inner if isinstance(each, dict | list))
