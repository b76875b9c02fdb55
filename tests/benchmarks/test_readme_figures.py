"""README and docs say what the result files hold, and nothing that no file holds."""

import json
import re
from dataclasses import replace

import pytest

from benchmarks import concept_filters, encoder_table, finetuning, large_store_page, plans_page
from benchmarks import report as speed_page
from benchmarks.readme import BLOCKS, PAGES, ROOT, Study, filled, method_table, read_study
from jaxcbm.evaluation.results.file import read_result
from jaxcbm.experiment.methods import DEFAULT
from jaxcbm.report.csv_file import csv_text
from jaxcbm.report.facts import sections
from jaxcbm.report.pages import markdown_report

DOCS = ROOT / "docs"
RESULTS = DOCS / "results"


@pytest.fixture(scope="module")
def study():
    return read_study(RESULTS)


def text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def without_places(page):
    return re.sub(r"<!-- figures: .*?<!-- end of figures -->", "", text(page), flags=re.S)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_what_the_results_say(page, study):
    """Where it is not: run `python -m benchmarks.readme` and commit what it writes."""
    assert text(page) == filled(text(page), study)


def test_every_block_has_its_place():
    placed = [name for page in PAGES for name in re.findall(r"<!-- figures: ([\w-]+)", text(page))]
    assert set(placed) == set(BLOCKS)


def test_no_figure_of_a_result_stands_outside_its_place():
    results = re.search(r"^## Results\n.*?^## ", without_places("README.md"), re.M | re.S)
    assert results is not None
    # That on serving shows addresses, and answers as examples.
    pages = [page for page in PAGES[1:] if page != "docs/serving.md"]
    for part in (results[0], *map(without_places, pages)):
        assert not re.findall(r"\d+\.\d+", part), "a figure that `benchmarks.readme` does not write"


def test_a_changed_result_is_a_changed_page(study):
    birds = study.methods["birds", "official"]
    rows = [
        replace(row, metrics={**row.metrics, "top1": (0.123,)}) if row.name == DEFAULT else row
        for row in birds.rows
    ]
    changed = Study({("birds", "official"): replace(birds, rows=tuple(rows))}, {})
    assert "takes it from 12.3 %" in filled(text("docs/results.md"), changed)
    for page in PAGES[:2]:
        lines = filled(text(page), changed).splitlines()
        assert "| 12.3 |" in next(line for line in lines if line.startswith(f"| **{DEFAULT}** |"))


def test_what_is_not_there_is_left_out(study):
    birds = study.methods["birds", "official"]
    for name, block in BLOCKS.items():
        assert not block(Study({}, {})).strip() or name.endswith("head")
    bare = [
        replace(row, metrics={"top1": row.metrics["top1"]}, nec_curve=None, given=())
        for row in birds.rows
        if DEFAULT not in row.name
    ]
    few = Study({("birds", "official"): replace(birds, rows=tuple(bare[:3]))}, {})
    table = method_table("birds", few).splitlines()
    assert table[0] == "|  | test top-1 % |" and DEFAULT not in table[2]
    for name in ("birds-facts", "hurts", "pooled-probe"):
        assert not BLOCKS[name](few).strip()


def folder(name):
    return [json.loads(path.read_text("utf-8")) for path in sorted((RESULTS / name).glob("*.json"))]


def one(name):
    return json.loads((RESULTS / name).read_text("utf-8"))


def plans():
    paths = sorted((RESULTS / "plan").glob("*.json"))
    return plans_page.render({path.stem: json.loads(path.read_text("utf-8")) for path in paths})


def methods():
    return [read_result(path) for path in sorted((RESULTS / "methods").glob("*.json"))]


@pytest.mark.parametrize(
    "page, render",
    [
        ("benchmarks.md", lambda: speed_page.render(folder("speed"))),
        ("gpu.md", lambda: speed_page.render(folder("speed_gpu"))),
        ("scale.md", lambda: large_store_page.render(one("scale/large_store.json"))),
        ("finetuning.md", lambda: finetuning.render(one("finetuning.json"))),
        ("concept_filters.md", lambda: concept_filters.render(one("concepts/filters.json"))),
        ("plan.md", plans),
        ("report/report.md", lambda: markdown_report(sections(methods()))),
        ("report/report.csv", lambda: csv_text(methods())),
    ],
)
def test_a_written_page_is_what_its_results_say(page, render):
    """Where it is not: run the command that its first lines name."""
    assert (DOCS / page).read_text("utf-8") == render()


def test_the_table_of_encoders_is_what_its_result_says():
    """Where it is not: run `python -m benchmarks.encoder_table --render`."""
    assert encoder_table.render(one("encoders.json")) in (DOCS / "encoders.md").read_text("utf-8")
