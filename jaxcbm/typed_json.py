"""JSON and settings to frozen dataclasses and back; every mistake names its place in the file."""

import dataclasses
import inspect
import math
import re
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from jaxcbm.errors import UserError

T = TypeVar("T")


# Where JAX's whole numbers end.
_WHOLE = 2**31 - 1


class Range(NamedTuple):
    """What a number may be, beside its type: `Annotated[int, Range(1)]`.

    Attributes:
        low, high: the smallest and the largest.
        above: whether `low` itself is excluded.

    >>> str(Range(0, above=True)), str(Range(0, 1)), 1.5 in Range(0, 1)
    ('above 0', '0 to 1', False)
    """

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: Any) -> bool:
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.high < _WHOLE:
            return f"{'above ' if self.above else ''}{self.low:g} to {self.high:g}"
        return f"{'above' if self.above else 'at least'} {self.low:g}"


Count = Annotated[int, Range(1, _WHOLE)]
Whole = Annotated[int, Range(0, _WHOLE)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]


def from_json(kind: type[T], value: Any, place: str, *, null_is_nan: bool = False) -> T:
    """Build a (nested) frozen dataclass from parsed JSON or from the settings of an experiment.

    Fields may be str, int, float, bool, Literal, tuple[X, ...], dict[str, X], Any, another
    dataclass, `Annotated[X, Range(...)]`, or any of these with `| None`. Fields without a default
    are required; unknown ones are refused.

    Args:
        kind: the dataclass.
        value: what `json.loads` gave, or nested mappings; parts may be of their dataclass already.
        place: begins every message, such as the file's name.
        null_is_nan: read a null where a float belongs as NaN, as `to_json` writes it.

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
    return _read_object(kind, value, _Place(place, "", null_is_nan))


def value_from_json(kind: Any, value: Any, place: str, name: str) -> Any:
    """Read one value of an object whose other fields are nobody's concern here.

    Args:
        kind: a type that a field of `from_json` may have.
        value: what `json.loads` gave.
        place: begins every message, such as the file's name.
        name: of the field in that file.

    Raises:
        UserError: the place of the value within the file, what it is, and what it should be.

    >>> value_from_json(Share, True, "a.json", "dropout")
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: a.json: dropout must be a number, not True
    """
    return _read(kind, value, _Place(place, name, False))


class Setting(NamedTuple):
    """One field of a nested dataclass.

    Attributes:
        name: dotted, from the outermost dataclass.
        kind: its type in words, for a literal what it may be.
        meaning: from the dataclass's `Attributes:`; "" where they do not mention it.
    """

    name: str
    kind: str
    meaning: str


def settings_of(kind: type, prefix: str = "") -> Iterator[Setting]:
    """Every field of a dataclass and of those in it, in their order.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Size:
    ...     '''How large.
    ...
    ...     Attributes:
    ...         unit: of the number.
    ...     '''
    ...     unit: Literal["m", "ft"] = "m"
    >>> list(settings_of(Size))
    [Setting(name='unit', kind="'m' or 'ft'", meaning='of the number.')]
    """
    hints, meanings = _hints(kind), meanings_of(kind)
    for field in dataclasses.fields(kind):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from settings_of(hint, f"{name}.")  # pyright: ignore[reportArgumentType]
        else:
            yield Setting(name, _described(hint), meanings.get(field.name, ""))


def meanings_of(kind: type) -> dict[str, str]:
    """What `Attributes:` says of each field of a dataclass, on one line."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    entries = re.split(r"^ {4}(?=\w+:)", text.split("\n\n")[0], flags=re.MULTILINE)[1:]
    pairs = (entry.partition(":") for entry in entries)
    return {name: " ".join(said.split()) for name, _, said in pairs}


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


class _Place(NamedTuple):
    """Where a value stands: the file, the path in it, and whether a null there may be NaN."""

    file: str
    path: str
    null_is_nan: bool

    def field(self, name: str) -> "_Place":
        return self._replace(path=f"{self.path}.{name}" if self.path else name)

    def item(self, key: Any) -> "_Place":
        return self._replace(path=f"{self.path}[{key!r}]")

    def wrong(self, expected: str, value: Any) -> UserError:
        shown = ascii(value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        place = self.path or "the file"
        return UserError(f"{self.file}: {place} must be {expected}, not {shown}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields; a server asks for the same ones at every request."""
    return get_type_hints(kind, include_extras=True)


def _read_object(kind: type[T], value: Any, at: _Place) -> T:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise at.wrong(_NAMES[dict], value)
    hints = _hints(kind)
    for name in value:
        if name not in hints:
            known = ", ".join(hints)
            raise UserError(f"{at.file}: {at.field(name).path} is unknown (there are {known})")
    for field in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        needed = field.default is field.default_factory is dataclasses.MISSING
        if needed and field.name not in value:
            raise UserError(f"{at.file}: {at.field(field.name).path} is missing")
    return kind(**{name: _read(hints[name], item, at.field(name)) for name, item in value.items()})


def _read(hint: Any, value: Any, at: _Place) -> Any:
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Annotated:
        number = _read(choices[0], value, at)
        if number not in choices[1]:
            # A limit that is JAX's own is said to those alone who are above it.
            limit = f", at most {_WHOLE}" if number > choices[1].high == _WHOLE else ""
            raise at.wrong(_described(hint) + limit, value)
        return number
    if origin in (Union, types.UnionType):
        return None if value is None else _read(choices[0], value, at)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_read(choices[0], x, at.item(i)) for i, x in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _read(choices[1], x, at.item(key)) for key, x in value.items()}
    if dataclasses.is_dataclass(hint):
        return _read_object(hint, value, at)  # pyright: ignore[reportArgumentType]
    if hint is float:
        return _number(value, at)
    if hint is Any:
        return value
    if value not in choices if origin is Literal else type(value) is not hint:
        raise at.wrong(_described(hint), value)
    return value


def _number(value: Any, at: _Place) -> float:
    if value is None and at.null_is_nan:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise at.wrong(_NAMES[float], value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isfinite(number):
        return number
    if at.null_is_nan:
        return math.nan
    raise at.wrong(_NAMES[float], value)


def _described(hint: Any) -> str:
    """A type in words: "a number", "a list", or what a literal may be."""
    origin, choices = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_described(choices[0])}, {choices[1]}"
    if origin in (Union, types.UnionType):
        return f"{_described(choices[0])} or nothing"
    if origin is Literal:
        return " or ".join(map(repr, choices))
    return _NAMES[origin or hint]


_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    dict: "an object",
}
