"""What every source may be asked about."""

import unicodedata
from collections.abc import Sequence

from jaxcbm.errors import UserError

MAX_CLASS_CHARACTERS = 120


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names that can be asked about, with single spaces, NFC.

    Args:
        classes: K names.

    Returns:
        The K names in their order.

    Raises:
        UserError: none, a blank one, one given twice (but for case and spaces), one that holds
            control characters, or one above 120 characters.

    >>> checked_classes(["great  grey shrike", "wren"])
    ('great grey shrike', 'wren')
    """
    if isinstance(classes, str):
        raise UserError(f"the classes are one text, {classes!r:.60}: give a list of names")
    if not classes:
        raise UserError("no classes: give at least one class name")
    places: dict[str, int] = {}
    tidy = []
    for place, given in enumerate(classes, start=1):
        if not isinstance(given, str):
            raise UserError(f"class {place} is no text: {given!r:.60}")
        name = " ".join(unicodedata.normalize("NFC", given).split())
        if not name:
            raise UserError(f"class {place} has no name: name it or remove it")
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
            raise UserError(f"class {place} holds a control character: {name!r:.60} (remove it)")
        if len(name) > MAX_CLASS_CHARACTERS:
            raise UserError(
                f"class {place} has {len(name):,} characters, {name!r:.40}...: give a name "
                f"of at most {MAX_CLASS_CHARACTERS}"
            )
        first = places.setdefault(name.casefold(), place)
        if first != place:
            raise UserError(f"class {place} is class {first} again: {name!r} (remove one)")
        tidy.append(name)
    return tuple(tidy)
