"""The page of plans, from result files as `jaxcbm plan` writes them."""

import json
from pathlib import Path

from benchmarks.plans import PLANS, SCALING
from benchmarks.plans_page import render

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "plan"


def test_every_result_is_one_that_the_script_asks_for():
    asked = {each.name for each in (*PLANS, *SCALING)}
    assert len(asked) == len(PLANS) + len(SCALING)
    assert {path.stem for path in FOLDER.glob("*.json")} <= asked


def test_the_page_names_every_plan_and_what_does_not_fit():
    results = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
    page = render(results)
    for name, plan in results.items():
        if plan["part"] != "scaling":
            assert f"### {name}" in page and plan["text"] in page
    assert page.count("| **no** |") == sum(
        not plan["fits"] for plan in results.values() if plan["part"] != "scaling"
    )
