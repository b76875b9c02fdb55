"""CONTRIBUTING speaks of what is there: paths, the order of the packages, and where diffs apply."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_floors import FLOORS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DIFF = re.compile(r"^```diff\n(.*?)^```", re.M | re.S)
PROSE = DIFF.sub("", TEXT)


def changes() -> Iterator[tuple[str, str, str]]:
    """(the file before, the file after, the lines) of every file that a diff changes."""
    for block in DIFF.findall(TEXT):
        for part in re.split(r"^(?=--- )", block, flags=re.M)[1:]:
            before, after, lines = part.split("\n", 2)
            yield before.removeprefix("--- "), after.removeprefix("+++ b/"), lines


def test_every_path_is_there():
    paths = set(re.findall(r"\b(?:jaxcbm|tests|configs|docs)/[\w/.]*\w", PROSE))
    assert len(paths) > 15
    assert not {path for path in paths if not (ROOT / path).exists()}


@pytest.mark.parametrize("change", list(changes()), ids=lambda change: change[1])
def test_a_diff_starts_from_what_stands(change):
    before, after, lines = change
    if before == "/dev/null":
        assert (ROOT / after).parents[1].is_dir() and not (ROOT / after).exists()
        return
    assert before == f"a/{after}"
    text, place = (ROOT / after).read_text(encoding="utf-8").split("\n"), 0
    for line in lines.splitlines():
        if line[0] in " -":
            assert line[1:] in text[place:], f"{after} has no such line, or not there: {line}"
            place = text.index(line[1:], place) + 1


def test_the_order_of_the_packages_is_the_one_that_is_held():
    order = TEXT.partition("## Order of the packages")[2].partition("## How to add")[0]
    rows = tuple(tuple(line.split()) for line in order.splitlines() if line.startswith("    "))
    assert rows == FLOORS
