"""Labels and class names as people have them, checked row by row."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jaxcbm.errors import UserError


def class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """The names of K classes.

    Raises:
        UserError: one text instead of several, something that is no text, or one name twice.

    >>> class_names(["owl", "wren"])
    ('owl', 'wren')
    """
    if isinstance(classes, str):
        raise UserError(
            f"classes={classes!r} is one text: give a list of names, as ['owl', 'wren']"
        )
    names = tuple(classes)
    for k, name in enumerate(names):
        if not isinstance(name, str):
            raise UserError(f"classes[{k}] is {name!r}: give the names of the classes as texts")
        if (first := names.index(name)) < k:
            raise UserError(f"classes[{first}] and classes[{k}] are both {name!r}: name one class")
    return names


def label_ids(
    labels: Iterable[Any], classes: Sequence[str] | None, count: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions in the class names from positions or names.

    Args:
        labels: for each image its class, by position in `classes` or by name; -1 or None where it
            is unknown. A list, or an array [N] of any library.
        classes: K names; None: those among the labels, in alphabetical order.
        count: N, how many images there are.

    Returns:
        (int32 [N] in -1 .. K - 1, the K names).

    Raises:
        UserError: the first row whose label is none, or another number of labels than images.

    >>> label_ids(["wren", "owl", None], None, 3)
    (array([ 1,  0, -1], dtype=int32), ('owl', 'wren'))
    """
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise UserError(f"labels={labels!r:.60}: give one label an image, [{count}]")
    values = np.asarray(labels) if hasattr(labels, "__array__") else np.fromiter(labels, object)
    if values.ndim != 1:
        raise UserError(f"labels of shape {list(values.shape)}: give one label an image, [{count}]")
    if len(values) != count:
        raise UserError(f"{len(values)} labels for {count} images: give one label an image")
    if classes is not None and values.dtype.kind in "iu":
        names = class_names(classes)
        if not count or -1 <= values.min() <= values.max() < len(names):
            return values.astype(np.int32), names
    rows = values.tolist()
    if classes is None:
        classes = sorted({label for label in rows if isinstance(label, str)})
        if not classes:
            raise UserError("labels without names: give classes=[...], the names in their order")
    names = class_names(classes)
    places = {name: k for k, name in enumerate(names)}
    ids = [_position(row, label, places, len(names)) for row, label in enumerate(rows)]
    return np.array(ids, np.int32), names


def _position(row: int, label: Any, places: dict[str, int], count: int) -> int:
    if isinstance(label, str):
        if label not in places:
            known = ", ".join(list(places)[:5]) + (", ..." if len(places) > 5 else "")
            raise UserError(f"labels[{row}] is {label!r}, which is not among the classes ({known})")
        return places[label]
    try:
        position = -1 if label is None else int(label)
        whole = label is None or position == label
    except (TypeError, ValueError, OverflowError):  # NaN and infinity fail here
        whole, position = False, 0
    if not whole or not -1 <= position < count:
        raise UserError(
            f"labels[{row}] is {label!r}: give a class's name or its position, 0 to {count - 1}, "
            "or -1 where the class is unknown"
        )
    return position


def some_of(names: Sequence[str], what: str, most: int = 4) -> str:
    """How many names there are, and the first of them.

    >>> some_of(["owl", "wren", "kite"], "classes", most=2)
    '3 classes (owl, wren, ...)'
    """
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{len(names):,} {what} ({shown})" if names else f"no {what}"
