"""Files by a pattern: globs, and braces as in `shards-{000..123}.tar`; here or on gs://."""

import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxcbm.errors import UserError
from jaxcbm.storage import as_path

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAGIC = re.compile(r"[*?\[]")
# More names than anybody has shards: a slip of the keyboard must not fill the memory.
_MOST = 1_000_000


def expand_braces(pattern: str) -> Iterator[str]:
    """Every name that a pattern of braces stands for, in order; a name without any is itself.

    Ranges count up with as many digits as their first number has; lists are separated by commas.

    Raises:
        UserError: more than a million names.

    >>> list(expand_braces("{a,b}-{08..10}.tar"))[:4]
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar']
    """
    texts, choices, count = _BRACES.split(pattern), [], 1
    for place, text in enumerate(texts):
        if place % 2 == 0:
            choices.append((text,))
        elif found := _RANGE.fullmatch(text):
            first, last, width = int(found[1]), int(found[2]), len(found[1])
            choices.append([f"{n:0{width}d}" for n in range(first, min(last, first + _MOST) + 1)])
        else:
            choices.append(text.split(",") if "," in text else (f"{{{text}}}",))
        count *= max(len(choices[-1]), 1)
        if count > _MOST:
            raise UserError(f"{pattern}: stands for more than {_MOST:,} names")
    return map("".join, itertools.product(*choices))


def matching(pattern: str) -> list[Any]:
    """Paths of what a pattern stands for, in sorted order where stars leave it open.

    Raises:
        UserError: one of the names that braces give is not there, or a kind of place that is not
            known.
    """
    found: list[Any] = []
    for name in expand_braces(pattern):
        if _MAGIC.search(name):
            found += _globbed(name)
        elif (path := as_path(name)).exists():
            found.append(path)
        elif name != pattern:
            raise UserError(f"{pattern}: there is no {name}")
    return found


def _globbed(pattern: str) -> Iterable[Any]:
    if "://" not in pattern:
        return sorted(map(Path, glob.glob(pattern, recursive=True)))
    folder, _, last = pattern.rpartition("/")
    if _MAGIC.search(folder):
        raise UserError(f"{pattern}: of objects, stars may stand in the last part alone")
    if not (place := as_path(folder)).is_dir():
        return []
    found = (path for path in place.iterdir() if fnmatch.fnmatchcase(path.name, last))
    return sorted(found, key=os.fspath)
