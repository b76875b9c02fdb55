"""The page of a report in a browser: its tables, its charts, its files, and on paper."""

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from synthetic_result import synthetic_result
from test_accessibility import ENGINE, TAGS

from jaxcbm.report.facts import sections
from jaxcbm.report.pages import html_report


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    result = synthetic_result(classes=6, seeds=3)
    more = {f"a further metric {i}": (0.125, 0.25, 0.5) for i in range(32)}
    rows = [dataclasses.replace(row, metrics=dict(row.metrics) | more) for row in result.rows]
    result = dataclasses.replace(result, rows=tuple(rows))
    file.write_text(html_report(sections([result])), encoding="utf-8")
    return file


def wider(page) -> list[int]:
    """By how many pixels the page and its first table are too wide."""
    return page.evaluate(
        """() => [document.documentElement, document.querySelector(".data").parentNode]
          .map(one => one.scrollWidth - one.clientWidth)"""
    )


def numbers(table, column: int) -> list[list[float]]:
    """Of each group of lines, the means of a column from above."""
    texts = table.evaluate(
        """(table, column) => [...table.tBodies].map(body => [...body.rows]
          .filter(row => row.className !== "group").map(row => row.cells[column].textContent))""",
        column,
    )
    means = [[text.partition("\u00b1")[0].strip() for text in group] for group in texts]
    return [[float(mean.replace("\u2212", "-")) for mean in x if mean != "\u2013"] for x in means]


def test_the_main_table_is_whole_and_its_headings_stay(page, report):
    page.goto(report.as_uri())
    table = page.locator(".data").first
    page.wait_for_selector(".whole")
    assert wider(page) == [0, 0]
    table.locator("tbody tr").last.scroll_into_view_if_needed()
    page.mouse.wheel(0, 200)
    page.wait_for_function(
        "table => table.getBoundingClientRect().top < -50", arg=table.element_handle()
    )
    assert table.locator("thead th").first.bounding_box()["y"] == pytest.approx(0, abs=1)


@pytest.mark.parametrize("width", [390, 820])
def test_a_narrow_window_moves_the_table_and_not_the_page(page, report, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(report.as_uri())
    page.wait_for_selector(".cut")
    assert wider(page)[0] == 0 < wider(page)[1]
    page.locator(".cut").first.evaluate("one => one.scrollTo(300, 200)")
    corner, room = (page.locator(x).first.bounding_box() for x in (".data thead th", ".cut"))
    assert (corner["x"], corner["y"]) == pytest.approx((room["x"], room["y"]), abs=1)
    name = page.locator(".data tbody th[scope=row]").first.bounding_box()
    assert name["x"] == pytest.approx(room["x"], abs=1)


def test_headings_sort_by_pointer_and_by_keys(page, report):
    page.goto(report.as_uri())
    table = page.locator(".data").first
    heading = table.locator("thead th", has_text="ECE %").first
    column = heading.evaluate("one => one.cellIndex")
    before = numbers(table, column)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert numbers(table, column) == [sorted(group, reverse=True) for group in before]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert numbers(table, column) == [sorted(group) for group in before]
    first = table.locator("thead th").first
    first.locator("button").focus()
    page.keyboard.press("Space")
    assert first.get_attribute("aria-sort") == "ascending"
    assert table.locator("[aria-sort]").count() == 1
    names = table.evaluate("table => [...table.tBodies[0].rows].slice(1).map(r => r.innerText)")
    assert names == sorted(names, key=str.lower)


def test_hidden_columns_come_back_on_paper(page, report):
    page.goto(report.as_uri())
    box, table = page.locator(".columns").first, page.locator(".data").first
    box.locator("summary").click()
    box.get_by_label("NEC", exact=True).uncheck()
    heading = table.locator("thead th", has_text=re.compile("^NEC$"))
    assert heading.is_hidden() and table.locator("tbody td:visible").count()
    column = heading.evaluate("one => one.cellIndex")
    cells = table.locator(f"tbody tr:not(.group) > :nth-child({column + 1})")
    assert cells.count() == 11 and not any(cell.is_visible() for cell in cells.all())
    page.emulate_media(media="print")
    assert heading.is_visible() and all(cell.is_visible() for cell in cells.all())
    assert box.is_hidden() and page.locator(".csv").first.is_hidden()
    page.emulate_media(media="screen")
    box.get_by_label("NEC", exact=True).check()
    assert heading.is_visible()


def test_every_column_fits_on_paper(page, report):
    # A4 lying, without its margins.
    page.set_viewport_size({"width": 1047, "height": 700})
    page.emulate_media(media="print")
    page.goto(report.as_uri())
    widths = page.evaluate("[...document.querySelectorAll('.data')].map(one => one.offsetWidth)")
    assert len(widths) > 3 and max(widths) <= 1047
    assert wider(page) == [0, 0]


def test_a_chart_says_the_numbers_of_its_file(page, report):
    page.goto(report.as_uri())
    figure, said = page.locator("figure").first, page.locator(".said")
    with page.expect_download() as download:
        figure.locator(".csv").click()
    lines = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    points = figure.locator(".points circle")
    assert points.count() == len(lines) and said.is_hidden()
    # Where no other curve is near: below all others.
    lowest = min(range(len(lines)), key=lambda i: float(lines[i]["mean top-1"]))
    points.nth(lowest).scroll_into_view_if_needed()
    middle = points.nth(lowest).bounding_box()
    page.mouse.move(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2 + 2)
    line = lines[lowest]
    assert said.inner_text() == written(line)
    page.mouse.move(1, 1)
    assert said.is_hidden()
    points.first.focus()
    page.keyboard.press("ArrowRight")
    assert said.inner_text() == written(lines[1])
    page.keyboard.press("ArrowDown")
    below = next(x for x in lines if written(x) == said.inner_text())
    assert below["curve"] != lines[1]["curve"] and list(below.values())[1] == "10"
    assert float(below["mean top-1"]) <= float(lines[1]["mean top-1"])
    assert figure.locator(".points [tabindex='0']").count() == 1
    page.keyboard.press("Escape")
    assert said.is_hidden()


def written(line: dict[str, str]) -> str:
    mean, deviation = (100 * float(line[name]) for name in ("mean top-1", "deviation"))
    name, at = list(line.items())[1]
    return f"{line['curve']}: {mean:.1f} \u00b1 {deviation:.1f} % at {at} {name}"


@pytest.mark.skipif(not ENGINE.exists(), reason="no axe-core: npm ci --prefix explorer")
@pytest.mark.parametrize(("width", "colours"), [(390, "dark"), (1440, "light")])
def test_the_engine_finds_nothing_in_a_report(page, tmp_path, width, colours):
    report = tmp_path / "report.html"
    # The engine takes seconds for each hundred of points and bars.
    result = synthetic_result(classes=3, seeds=2)
    result = dataclasses.replace(result, interventions=result.interventions[:2])
    report.write_text(html_report(sections([result])), encoding="utf-8")
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=colours)
    page.goto(report.as_uri())
    page.locator(".columns summary").first.click()
    page.evaluate(ENGINE.read_text(encoding="utf-8"))
    result = page.evaluate(f"axe.run(document, {{runOnly: {TAGS}}})")
    assert result["passes"]
    serious = [
        f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]}"
        for each in result["violations"]
    ]
    assert not serious, "\n".join(serious)
