"""The pictures of docs/ideas.md say what the result files say."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.ideas import PICTURES, standalone

DOCS = Path(__file__).parents[2] / "docs"


def texts(svg: str) -> list[str]:
    """Labels and figures of a picture, in their order."""
    tree = ElementTree.fromstring(svg)
    return ["".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_its_results_say(name):
    """Where it is not: run `python -m benchmarks.ideas` and commit what it writes."""
    shown = (DOCS / "pictures" / "ideas" / f"{name}.svg").read_text(encoding="utf-8")
    drawn = standalone(*PICTURES[name](DOCS / "results"))
    assert texts(shown) == texts(drawn) and len(texts(shown)) > 5


def test_every_picture_is_shown_once():
    page = (DOCS / "ideas.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\(pictures/ideas/(\w+)\.svg\)", page)) == sorted(PICTURES)
