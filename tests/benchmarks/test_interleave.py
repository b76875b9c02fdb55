"""The arithmetic of ratios, the result's form, and the page; without torch or a clock."""

import json

import pytest

from benchmarks.interleave import Contender, Ratio, Row, quartiles, summarise, take_turns, versus
from benchmarks.report import render

SECONDS = {"ours": [1.0, 2.0, 3.0], "theirs": [4.0, 4.0, 30.0]}


def make_row(**options) -> Row:
    contenders = [Contender(name, lambda: lambda: None, units=2) for name in SECONDS]
    ratios = options.pop("ratios", [versus("ours", "theirs", 3.5)])
    return Row("row", "A row", "steps", contenders, ratios, **options)


def test_ratios_are_taken_within_a_round():
    ratio = summarise(make_row(), SECONDS)["ratios"][0]
    # 4, 2 and 10 round by round; the quotient of the medians would be 2.
    assert (ratio["median"], ratio["q25"], ratio["q75"]) == (4.0, 3.0, 7.0)
    assert ratio["met"] is True


def test_a_target_is_missed_below_it_and_absent_without_one():
    ratios = [versus("ours", "theirs", 4.1), versus("theirs", "ours")]
    missed, free = summarise(make_row(ratios=ratios), SECONDS)["ratios"]
    assert missed["met"] is False
    assert free["met"] is None and free["median"] == 0.25


def test_costs_are_by_the_unit():
    contenders = [
        Contender("ours", lambda: lambda: None, units=10),
        Contender("theirs", lambda: lambda: None, units=1),
    ]
    row = Row("row", "A row", "images", contenders, [versus("ours", "theirs")])
    result = summarise(row, {"ours": [1.0], "theirs": [1.0]})
    assert result["ratios"][0]["median"] == pytest.approx(10.0)
    assert result["contenders"][0]["units_per_second"]["median"] == pytest.approx(10.0)


def test_a_derived_ratio_reads_every_cost_of_its_round():
    ratio = Ratio("total", lambda cost: cost["theirs"] / (1 + cost["ours"]), derived="b / (1 + a)")
    result = summarise(make_row(ratios=[ratio]), SECONDS)
    rounds = [2.0 / 1.5, 2.0 / 2.0, 15.0 / 2.5]
    assert result["ratios"][0]["median"] == quartiles(rounds)["median"]


def test_everyone_works_once_a_round_in_rotating_order():
    calls: list[str] = []
    ticks = iter(range(1000))
    works = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seconds = take_turns(works, rounds=4, clock=lambda: float(next(ticks)))
    assert calls[6:] == list("abc" + "bca" + "cab" + "abc")
    assert seconds == {name: [1.0] * 4 for name in "abc"}


def as_file(**options) -> dict:
    """A result as it comes back from its file."""
    result = summarise(make_row(**options), SECONDS)
    for contender in result["contenders"]:
        contender["peak_mib"] = 1234.0
    versions = {"jax": "1.2.3", "torch": None}
    machine = {
        "cpu": "A CPU",
        "cores": 8,
        "threads": 2,
        "flags": ["amx_bf16"],
        "memory_gib": 16.0,
        "python": "3.11.0",
        "versions": versions,
    }
    written = {"date": "2024-01-01", "quick": False, "machine": machine, **result}
    return json.loads(json.dumps(written))


def test_the_page_shows_ratio_target_memory_machine_and_notes():
    page = render([as_file(notes=["A note."], skipped=["No such unit."])])
    assert "| ours / theirs | **4.00** [3.00, 7.00] | 3.5 | yes |" in page
    assert "| ours | 1 | 1,234 |" in page
    assert "A CPU (`amx_bf16`), 2 of 8 cores" in page and "jax 1.2.3;" in page
    assert page.index("- No such unit.") < page.index("- A note.")
    assert "derived as" not in page


def test_the_page_says_how_busy_the_machine_was_and_which_code_ran():
    older = as_file()
    load = {"before": 0.1, "largest": 2.0, "cores": 2}
    code = {"version": "1.0", "source": "ab", "commit": "", "dirty": False}
    newer = {**older, "load": load, "machine": {**older["machine"], "code": code}}
    busy = {**newer, "load": {**load, "before": 9.0}}
    unknown = {**newer, "load": {**load, "before": None}}
    pages = [render([each]) for each in (older, newer, busy, unknown)]
    for page, word in zip(pages, ("not said", "idle", "busy", "idle"), strict=True):
        assert f"| ours / theirs | 4.00 | 3.5 | {word} |" in page
    assert "Load average" not in pages[0] and "nan before" in pages[3]
    told = "Load average: 0.1 before, at most 2.0 meanwhile, 2 cores. Code: jaxcbm 1.0, source ab."
    assert told in pages[1] and "2 cores (**busy**)." in pages[2] and "**busy**" not in pages[1]


def test_the_page_says_what_was_derived_and_what_is_a_smoke_test():
    ratio = Ratio("total", lambda cost: 1.0, derived="a x b")
    result = as_file(ratios=[ratio])
    assert "| total | **1.00** [1.00, 1.00] |  |  | a x b |" in render([result])
    assert "smoke test" not in render([result])
    assert "smoke test" in render([{**result, "quick": True}])
