"""The page of the birds' dials: what is drawn and written is what was measured."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_result import synthetic_result

from jaxcbm.data.birds.dials import DIALS
from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.schema import ResultFile
from jaxcbm.experiment.dials import LEVELS
from jaxcbm.experiment.methods import METHODS
from jaxcbm.report.dials_figures import HIGHLIGHTED, TITLES, curves_figure, pictures_figure
from jaxcbm.report.dials_page import page_text
from jaxcbm.report.dials_points import METRICS as DRAWN
from jaxcbm.report.dials_points import csv_text, dials_of, points_of
from jaxcbm.report.facts import section_title, sections
from jaxcbm.report.metric_names import metric, number, summarise

DOCS = Path(__file__).parents[2] / "docs"


def at(level: float, **dials: float) -> ResultFile:
    """A result whose top-1 falls with the level."""
    result = synthetic_result(seeds=2)
    rows = tuple(
        replace(row, metrics={**row.metrics, "top1": tuple((0.9 - level) + 0.01 * np.arange(2))})
        for row in result.rows
    )
    return replace(result, rows=rows, dials=dials)


@pytest.fixture(scope="module")
def results():
    return [at(0.0), at(0.6, shortcut=0.6), at(0.3, shortcut=0.3), at(0.4, annotation_noise=0.4)]


def test_zero_begins_every_dial(results):
    points = points_of(results)
    assert dials_of(points) == {"shortcut": [0.0, 0.3, 0.6], "annotation_noise": [0.0, 0.4]}
    zero = {point.dial: point.values for point in points if not point.level}
    assert len(zero) == 2 and zero["shortcut"] == zero["annotation_noise"]


@pytest.mark.parametrize(
    "chosen", [slice(1, 4), slice(0, 0)], ids=["without all at zero", "nothing at all"]
)
def test_a_page_needs_the_birds_as_they_are(results, chosen):
    with pytest.raises(UserError, match="one result of all dials at zero"):
        page_text(results[chosen])


def test_two_dials_at_once_have_no_place_on_the_page(results):
    with pytest.raises(UserError, match="others of one dial each"):
        points_of([*results, at(0.1, shortcut=0.1, nuisances=0.2)])


def test_tables_hold_zero_and_the_ends(results):
    page = page_text(results)
    assert "| method | all at 0 | shortcut 0.6 | annotation noise 0.4 |" in page
    row = next(line for line in page.splitlines() if line.startswith("| CDM | 90.5"))
    assert [cell.split()[0] for cell in row.split("|")[2:-1]] == ["90.5", "30.5", "50.5"]
    assert "command: `jaxcbm reproduce --dataset=birds --seeds=2`" in page


def test_the_csv_holds_what_is_drawn(results):
    points = points_of(results)
    lines = csv_text(points).splitlines()
    assert lines[0] == "dial,level,method,metric,mean,deviation,seeds"
    assert "shortcut,0.3,CDM,top1,0.605,0.00707107,2" in lines
    assert len(lines) == len(points) + 1


def test_curves_are_drawn_at_what_was_measured(results):
    points = points_of(results)
    panels = np.array(curves_figure(points).axes).reshape(len(DRAWN), 2)
    for column, dial in enumerate(dials_of(points)):
        assert panels[0, column].get_title(loc="left") == TITLES[dial]
        for row, name in enumerate(DRAWN):
            means: dict[str, list[tuple[float, float]]] = {}
            for p in points:
                if (p.dial, p.metric) == (dial, name):
                    means.setdefault(p.method, []).append((p.level, summarise(p.values).mean))
            drawn = [line.get_xydata() for line in panels[row, column].get_lines()]
            expected = sorted(sorted(curve) for curve in means.values())
            np.testing.assert_allclose(sorted(curve.tolist() for curve in drawn), expected)


def test_few_methods_have_colours_and_all_have_a_place_in_the_legend(results):
    figure = curves_figure(points_of(results))
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said[-1] == "other methods" and "CDM" in said and "zero-shot" not in said
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len({*colours}) == len(said)


def test_highlighted_methods_are_rows_of_the_table():
    assert set(HIGHLIGHTED) <= set(METHODS), "a row has another name now: name it here too"


def test_every_dial_is_told():
    assert tuple(TITLES) == DIALS
    page = page_text([at(0.0), *(at(0.1, **{dial: LEVELS[dial][0]}) for dial in DIALS)])
    for title in TITLES.values():
        assert page.count(f"| {title} ") == 5  # what it does, and a column of four tables


def test_birds_are_shown_for_dials_of_pictures_alone():
    figure = pictures_figure({"annotation_noise": [0.0, 0.4], "atypical": [0.0, 1.0]})
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "atypical birds 0",
        "atypical birds 1",
    ]
    first, last = (axes.get_images()[0].get_array() for axes in figure.axes)
    assert first.shape == last.shape and (first != last).any()


def test_a_report_tells_dials_apart(results):
    titles = [section_title(section) for section in sections(results)]
    assert len({*titles}) == len(results) and any("shortcut 0.6" in title for title in titles)


def test_the_page_in_docs_says_what_its_numbers_say():
    """Its tables against results/dials.csv beside it, which is behind the curves too."""
    page = (DOCS / "dials.md").read_text(encoding="utf-8")
    with (DOCS / "results" / "dials.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    ends = {line["dial"]: 0.0 for line in lines}
    for line in lines:
        ends[line["dial"]] = max(ends[line["dial"]], float(line["level"]))
    assert tuple(ends) == DIALS
    for name in DRAWN:
        column = metric(name)
        table = page.partition(f"### {column.label}\n")[2].partition("###")[0]
        told = {cells[0]: cells[1:] for cells in map(cells_of, table.splitlines()) if cells}
        for line in lines:
            places = [0] if float(line["level"]) == 0 else []
            if float(line["level"]) == ends[line["dial"]]:
                places = [1 + DIALS.index(line["dial"])]
            for place in places if line["metric"] == name else ():
                said = told[line["method"]][place].split()[0]
                # The page rounds what the file has to six digits already.
                mean = float(line["mean"] or "nan")
                near = {number(mean * (1 + shift), column) for shift in (-1e-6, 0.0, 1e-6)}
                assert said in near, (name, line)


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]
