import dataclasses
import re
from html.parser import HTMLParser

import pytest
from synthetic_result import CLASSES, OURS, synthetic_result

from jaxcbm.evaluation.results.schema import (
    ClassWeights,
    ContributionValue,
    Weights,
)
from jaxcbm.report.facts import sections
from jaxcbm.report.html_page import html_report
from jaxcbm.report.markdown import markdown_report

VOID = {"meta", "img", "br", "circle", "polyline", "polygon", "path", "rect"}
EVIL = "</style><script>alert('1')</script><img src=http://evil/x onerror=\"x\">&|`*_\n# [a](b)"


class Checker(HTMLParser):
    """Collects tags and attributes; fails where tags do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        self.text.append(data)


def parse(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    return checker


@pytest.fixture(scope="module")
def page():
    results = [synthetic_result(), synthetic_result(protocol="released")]
    return html_report(sections([*results, synthetic_result("cifar10", classes=10)]))


def test_the_page_is_whole_and_loads_nothing(page):
    found = parse(page)
    assert page.startswith("<!doctype html>")
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(found.tags)
    for tag, name, value in found.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "data", "href", "xlink:href", "poster", "action"):
            inline = value.startswith(("data:image/png;base64,", "#"))
            assert inline or (tag == "a" and value.startswith("https://arxiv.org/abs/")), value
    style = re.search(r"<style>(.*)</style>", page, re.S)[1]
    assert "url(" not in page and "@import" not in page
    assert style.count("{") == style.count("}") and "{{" not in style
    for feature in ("prefers-color-scheme:dark", "@media print", "max-width:34rem"):
        assert feature in style


def test_the_page_shows_everything_of_the_result(page):
    found = parse(page)
    text = " ".join(found.text)
    for name in (*CLASSES, "ECE", "Worst", "oracle, values from expert", "Published"):
        assert name in text, name
    assert found.tags.count("img") == 2 * 8
    assert "What the released protocol does" in text
    # Ten classes are ribbons too; 48 are bars alone.
    assert page.count("class='ribbons'") == 1
    labels = [
        value for tag, name, value in found.attributes if (tag, name) == ("svg", "aria-label")
    ]
    assert sum("NEC" in label for label in labels) == 2
    assert sum("Reliability" in label for label in labels) == 6
    assert sum("Interventions" in label for label in labels) == 4


def test_every_anchor_has_its_place(page):
    found = parse(page)
    ids = [value for _, name, value in found.attributes if name == "id"]
    links = [v[1:] for _, name, v in found.attributes if name == "href" and v.startswith("#")]
    assert len(set(ids)) == len(ids) and set(links) <= set(ids) and len(links) == 2


def test_the_same_results_give_the_same_pages(page):
    results = [synthetic_result(), synthetic_result(protocol="released")]
    report = sections([*results, synthetic_result("cifar10", classes=10)])
    assert html_report(report) == page
    assert markdown_report(report) == markdown_report(report)


def evil_result():
    """A result whose every text is an attack."""
    result = synthetic_result(classes=3)
    rows = (dataclasses.replace(result.rows[0], name=EVIL, note=EVIL), *result.rows[1:])
    metrics = rows[1].metrics | {EVIL: (0.5,)}
    rows = (rows[0], dataclasses.replace(rows[1], metrics=metrics), *rows[2:])
    image = dataclasses.replace(
        result.explanations.images[0],
        true=EVIL,
        predicted=EVIL,
        contributions=(ContributionValue(EVIL, 1.0),),
    )
    curve = dataclasses.replace(result.interventions[0], row=EVIL, policy=EVIL, values=EVIL)
    return dataclasses.replace(
        result,
        rows=rows,
        dataset=EVIL,
        encoder=EVIL,
        encoder_hash=EVIL,
        hardware=EVIL,
        command=EVIL,
        notes=(EVIL,),
        concepts=dataclasses.replace(result.concepts, hash=EVIL, name=EVIL),
        reliability=(dataclasses.replace(result.reliability[0], row=EVIL),),
        interventions=(curve,),
        class_weights=Weights(EVIL, (ClassWeights(EVIL, {EVIL: 1.0, "b": -1.0}),)),
        explanations=dataclasses.replace(result.explanations, row=EVIL, images=(image,)),
    )


def test_texts_from_data_are_never_markup():
    page = html_report(sections([evil_result()]))
    found = parse(page)
    assert "script" not in found.tags and found.tags.count("img") == 1
    assert not any(name.startswith("on") for _, name, _ in found.attributes)
    # Removing what was escaped as a whole leaves no trace of the attack.
    escaped = EVIL.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = escaped.replace('"', "&quot;").replace("'", "&#x27;")
    assert page.count(escaped) > 20


def test_markdown_shows_texts_as_they_are():
    text = markdown_report(sections([evil_result()]))
    assert "<script" not in text and "<img" not in text
    assert "&lt;/style&gt;" in text and r"\*\_ \# \[a\](b)" in text
    widths = {}
    for block in text.split("\n\n"):
        rows = [re.sub(r"\\.", "", line) for line in block.splitlines() if line.startswith("|")]
        if rows:
            widths[block[:40]] = {line.count("|") for line in rows}
    assert len(widths) >= 5 and all(len(counts) == 1 for counts in widths.values())


def test_markdown_has_the_tables_of_the_page():
    text = markdown_report(sections([synthetic_result(), synthetic_result(protocol="released")]))
    for heading in (
        "Methods on the test split",
        "Top-1 % at a number",
        "Top-1 % after",
        "released",
    ):
        assert heading in text
    assert f"| {OURS} | ours | **" in text
    assert "[*Semenov et al. 2024" in text and "(https://arxiv.org/abs/2404.03323)" in text


def test_released_numbers_alone_carry_a_warning():
    report = sections([synthetic_result(protocol="released")])
    assert "class='warning'" in html_report(report)
    assert "**Released protocol:" in markdown_report(report)


def test_a_bare_result_makes_a_page():
    result = dataclasses.replace(
        synthetic_result(),
        rows=(dataclasses.replace(synthetic_result().rows[-1], metrics={}, seconds=()),),
        reliability=(),
        interventions=(),
        class_weights=None,
        explanations=None,
        notes=(),
        command="",
    )
    found = parse(html_report(sections([result])))
    assert "figure" not in found.tags
