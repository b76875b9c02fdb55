"""JSON to frozen dataclasses and back, where every mistake names its place in the file."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jaxcbm.errors import UserError

T = TypeVar("T")


def from_json(kind: type[T], value: Any, place: str) -> T:
    """Build a (nested) frozen dataclass from parsed JSON.

    Fields may be str, int, float, bool, Literal, tuple[X, ...], dict[str, X], another dataclass, or
    any of these with `| None`. A null where a float belongs is NaN. Fields without a default are
    required; unknown ones are refused.

    Args:
        kind: the dataclass.
        value: what `json.loads` gave.
        place: begins every message, such as the file's name.

    Raises:
        UserError: the place of the value within the file, what it is, and what it should be.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Point:
    ...     xs: tuple[float, ...]
    >>> from_json(Point, {"xs": [1, 2.5]}, "a.json")
    Point(xs=(1.0, 2.5))
    >>> from_json(Point, {"xs": [1, "2"]}, "a.json")
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: a.json: xs[1] must be a number, not '2'
    """
    return _read_object(kind, value, place, "")


def to_json(value: Any) -> Any:
    """A dataclass as plain dicts and lists; NaN and infinities, which JSON lacks, as null.

    >>> to_json({"top1": (0.5, float("nan"))})
    {'top1': [0.5, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_json(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _read_object(kind: type[T], value: Any, file: str, place: str) -> T:
    if not isinstance(value, dict):
        raise _wrong(file, place, "an object", value)
    hints = get_type_hints(kind)
    prefix = f"{place}." if place else ""
    for name in value:
        if name not in hints:
            raise UserError(f"{file}: {prefix}{name} is unknown (there are {', '.join(hints)})")
    for field in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        needed = field.default is field.default_factory is dataclasses.MISSING
        if needed and field.name not in value:
            raise UserError(f"{file}: {prefix}{field.name} is missing")
    return kind(**{k: _read(hints[k], item, file, prefix + k) for k, item in value.items()})


def _read(hint: Any, value: Any, file: str, place: str) -> Any:
    origin, choices = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(choices[0], value, file, place)
    if origin is Literal:
        if value not in choices:
            raise _wrong(file, place, " or ".join(map(repr, choices)), value)
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(file, place, "a list", value)
        return tuple(_read(choices[0], x, file, f"{place}[{i}]") for i, x in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(file, place, "an object", value)
        return {key: _read(choices[1], x, file, f"{place}[{key!r}]") for key, x in value.items()}
    if dataclasses.is_dataclass(hint):
        return _read_object(hint, value, file, place)  # pyright: ignore[reportArgumentType]
    if hint is float:
        return _number(value, file, place)
    if type(value) is not hint:
        raise _wrong(file, place, _NAMES[hint], value)
    return value


def _number(value: Any, file: str, place: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(file, place, "a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return number if math.isfinite(number) else math.nan


_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


def _wrong(file: str, place: str, expected: str, value: Any) -> UserError:
    shown = ascii(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return UserError(f"{file}: {place or 'the file'} must be {expected}, not {shown}")
