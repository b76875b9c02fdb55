"""The files that concept sets are read from."""

from importlib import resources
from pathlib import Path

from jaxcbm.errors import UserError
from jaxcbm.text_file import read_text

_SETS = resources.files("jaxcbm.concepts").joinpath("sets")
# A set is added by its file.
BUILT_IN = tuple(sorted(file.name.removesuffix(".txt") for file in _SETS.iterdir()))


def built_in_name(source: str | Path) -> str | None:
    """The built-in set that a name means; None where it is a file.

    A file of that name in front of the user goes before ours; a bare name is always ours.

    >>> built_in_name("birds")
    'birds'
    """
    path = Path(source)
    name = path.stem if path.suffix == ".txt" else str(source)
    return name if name in BUILT_IN and (path.suffix == "" or not path.exists()) else None


def read_built_in(name: str) -> str:
    """The text of a built-in set."""
    return _SETS.joinpath(f"{name}.txt").read_text("utf-8")


def read_concept_file(path: Path) -> str:
    """The text of a .txt or .json file.

    Raises:
        UserError: another ending, no such file, or not UTF-8.
    """
    if path.suffix not in (".txt", ".json"):
        raise UserError(
            f"no concept set {str(path)!r}: give a .txt or .json file, a list of phrases, or one "
            f"of {', '.join(BUILT_IN)}"
        )
    return read_text(path, f"one phrase a line, or one of the built-in sets {', '.join(BUILT_IN)}")


def numbered_lines(text: str) -> list[tuple[str, str]]:
    """The lines of a text that are no comments, each with its place.

    >>> numbered_lines("# birds\\nred crown\\n")
    [('line 2', 'red crown')]
    """
    # Not splitlines: it also splits at characters that no editor shows as a new line.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    numbered = [(f"line {n}", line) for n, line in enumerate(lines, start=1)]
    return [(place, line) for place, line in numbered if not line.lstrip().startswith("#")]
