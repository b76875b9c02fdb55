import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from page_parser import parse

from jaxcbm.pages import bars, code_markdown, escape_markdown, render
from jaxcbm.palette import PALETTE

EVIL = "</style><script>alert('1')</script><img src=http://evil/x onerror=\"x\">&|`*_\n# [a](b)"
VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(values=st.lists(VALUES, min_size=1, max_size=8), rest=VALUES)
def test_bars_stand_on_zero_inside_their_room_and_are_as_long_as_their_values(values, rest):
    zero, lines = bars([(str(i), value) for i, value in enumerate(values)], rest=("rest", rest))
    largest = max(map(abs, (*values, rest)))
    widest = max(line.width for line in lines)
    for line, value in zip(lines, (*values, rest), strict=True):
        assert line.start >= -1e-9 and line.start + line.width <= 100 + 1e-9
        assert (line.start if value >= 0 else line.start + line.width) == pytest.approx(zero)
        if largest:
            assert line.width == pytest.approx(widest * abs(value) / largest)
    assert [line.kind == "neutral" for line in lines] == [*[False] * len(values), True]


def test_values_that_are_no_numbers_have_no_bar():
    _, lines = bars([("a", float("nan")), ("b", 2.0), ("c", float("inf"))])
    assert [line.width for line in lines] == [0.0, 100.0, 0.0] and lines[0].text == "\u2013"


def test_one_scale_for_several_groups_of_bars():
    scale = (4.0, -4.0)
    zero, lines = bars([("a", 2.0)], scale=scale)
    assert zero == 50.0 and lines[0].width == 25.0


# What a notebook with a theme of its own marks it by may stand before the class.
_OURS = r"(body|\[(data-jp-theme-light|theme)=\w+\] |\.vscode-\w+ )?\.jaxcbm\b"


def test_the_stylesheet_touches_nothing_outside_its_class():
    style = render("style.css")
    assert style.count("{") == style.count("}") and "{{" not in style and "url(" not in style
    rules = re.sub(r"@media[^{]*\{|\{[^{}]*\}", "\n", style).replace("}", "")
    selectors = [one for rule in rules.splitlines() for one in rule.split(",") if one.strip()]
    assert len(selectors) > 50
    assert {s for s in selectors if not re.match(_OURS, s)} == set()


def test_every_colour_has_a_value_on_light_on_dark_and_on_paper():
    style = render("style.css")
    for name, (light, dark) in PALETTE.items():
        assert [style.count(f"--{name}:{color};") for color in (light, dark)] == [3, 2]
    lights = [light for light, _ in PALETTE.values()]
    assert len(set(lights)) == len(lights)
    used = set(re.findall(r"var\(--([a-z0-9-]+)\)", style))
    assert used <= set(PALETTE)


def test_a_title_is_text():
    page = render("page.html", title=EVIL)
    found = parse(page)
    assert found.tags.count("script") == found.tags.count("style") == 1
    assert "img" not in found.tags and EVIL in found.text


def test_markdown_values_are_text_unless_marked_safe():
    about = {
        "runs": "2 *runs*",
        "train": {"images": 1},
        "valid": {"images": 1},
        "concepts": {"count": 2, "hash": "ab" * 32},
    }
    table = {"caption": EVIL, "header": ["a|b"], "groups": [], "notes": []}
    text = render("sweep.md", about=about, table=table, best="--config.a_b=1")
    assert r"2 \*runs\*" in text and r"| a\|b |" in text and "`--config.a_b=1`" in text
    assert "<script" not in text and r"\# \[a\](b)" in text


COMMON_MARK = MarkdownIt("commonmark").enable(["table", "strikethrough"])
STRANGE = st.text(alphabet="[](){}<>!`*_~#|\\-+=.01:/&; \n\tax", min_size=1).filter(str.strip)


@given(STRANGE)
@example("]](javascript:alert(1))")
@example("[a]: javascript:alert(1)")
@example("<javascript:alert(1)>")
@example("- item")
@example("+ item")
@example("12. item")
@example("---")
def test_text_is_never_markup(text):
    """A name from data reads as it is, alone, in a cell, in a list and in a link's text."""
    line = " ".join(text.split())
    shown = html.escape(line)
    assert COMMON_MARK.render(escape_markdown(text)) == f"<p>{shown}</p>\n"
    cell = COMMON_MARK.render(f"| a |\n|---|\n| {escape_markdown(text)} |\n")
    assert f"<td>{shown}</td>" in cell
    link = COMMON_MARK.render(f"[*{escape_markdown(text)}*](https://a.b)")
    assert link == f'<p><a href="https://a.b"><em>{shown}</em></a></p>\n'


@given(STRANGE)
@example("`] [a](javascript:alert(1))")
def test_code_stays_code(text):
    shown = html.escape(" ".join(text.split()))
    assert COMMON_MARK.render(code_markdown(text)) == f"<p><code>{shown}</code></p>\n"


def test_addresses_in_data_are_not_made_links_by_the_viewer():
    assert escape_markdown("see http://a.b or WWW.a.b") == r"see http\://a.b or WWW\.a.b"
