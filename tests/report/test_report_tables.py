import csv
import dataclasses
import io
import math
import statistics

import pytest
from synthetic_result import OURS, synthetic_result

from jaxcbm.code_version import Code
from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.file import read_result, write_result
from jaxcbm.evaluation.results.schema import MethodResult, NecCurves
from jaxcbm.machine_load import Load
from jaxcbm.report.csv_file import csv_text
from jaxcbm.report.facts import Section, facts, sections
from jaxcbm.report.metric_names import Summary, best, mean_and_deviation, metric, summarise
from jaxcbm.report.published import DATASETS, PUBLISHED, SOURCES
from jaxcbm.report.published_tables import all_published_table, published_table
from jaxcbm.report.tables import (
    further_table,
    intervention_table,
    main_table,
    nec_table,
    released_table,
)

NONE = "\u2013"


def with_rows(*rows, **fields):
    parts = {"reliability": (), "interventions": (), "class_weights": None, "explanations": None}
    return dataclasses.replace(synthetic_result(**fields), rows=rows, **parts)


def row(name, *top1, sparse=True, **fields):
    return MethodResult(name, "ours", {"top1": top1}, sparse, **fields)


def column(table, name):
    """The cells under a heading, by the name of their line."""
    place = table.header.index(name)
    return {line[0].text: line[place] for group in table.groups for line in group.lines}


def test_mean_and_sample_deviation_by_hand():
    table = main_table(with_rows(row("a", 0.70, 0.72, 0.74, 0.76, 0.78), row("b", 0.5)))
    cells = column(table, "top-1 %")
    # Squares of -4, -2, 0, 2, 4 sum to 40; over n - 1 = 4 that is 10.
    assert cells["a"].text == f"74.0 \u00b1 {math.sqrt(10):.1f}"
    assert cells["b"].text == "50.0"


def test_best_and_ties_within_each_group():
    spread = (0.69, 0.70, 0.71)
    result = with_rows(
        row("best", *spread),
        row("within", *(x - 0.009 for x in spread)),
        row("beyond", *(x - 0.011 for x in spread)),
        row("noisy", 0.4, 0.6, 0.9),
        row("dense", 0.9, 0.9, 0.9, sparse=False),
        row("dense too", 0.1, 0.1, 0.1, sparse=False),
    )
    table = main_table(dataclasses.replace(result, seeds=(0, 1, 2)))
    assert len(table.groups) == 2
    marked = {name for name, cell in column(table, "top-1 %").items() if cell.best}
    assert marked == {"best", "within", "dense"}


@pytest.mark.parametrize(
    "name,expected", [("top1", [False, True]), ("ece", [True, False]), ("nec", [False, False])]
)
def test_each_metric_knows_which_way_is_better(name, expected):
    assert best([Summary(0.1, 0.01, 3), Summary(0.2, 0.01, 3)], metric(name)) == expected


def test_what_is_written_alike_is_marked_alike():
    column = metric("top1")
    marks = best([Summary(0.50001, 0.0, 3), Summary(0.50002, 0.0, 3), Summary(0.4, 0, 3)], column)
    assert marks == [True, True, False]


def test_missing_values_are_dashes_and_never_best():
    other = MethodResult("other", "baseline", {"anec": (math.nan,)}, True)
    result = with_rows(row("a", 0.5, 0.5, 0.5, 0.5, math.nan), other)
    table = main_table(result)
    assert column(table, "top-1 %")["other"].text == NONE
    assert column(table, "ANEC %")["other"].text == NONE
    assert not column(table, "ANEC %")["other"].best
    assert summarise((0.5, math.nan)).count == 1


def test_minus_zero_is_zero():
    assert mean_and_deviation(Summary(-1e-9, 0.0, 2), metric("concept_auc")) == "0.000 \u00b1 0.000"


def test_nec_table_reads_each_seed_and_leaves_gaps():
    curves = (
        NecCurves((5.0, 10.0), ((0.5, 0.6), (0.7, 0.8))),
        NecCurves((10.0, 40.0), ((0.9, 0.1),)),
    )
    rows = (row("a", 0.5, nec_curve=curves[0]), row("b", 0.5, nec_curve=curves[1]))
    table = nec_table(dataclasses.replace(with_rows(*rows), seeds=(0, 1)))
    assert table.header == ("method", "NEC 5", "NEC 10", "NEC 40")
    assert column(table, "NEC 5")["a"].text == f"60.0 \u00b1 {100 * math.sqrt(0.02):.1f}"
    assert column(table, "NEC 10")["b"].text == "90.0" and column(table, "NEC 10")["b"].best
    assert column(table, "NEC 40")["a"].text == NONE


def test_tables_that_have_nothing_to_say_are_left_out():
    result = with_rows(row("a", 0.5))
    assert nec_table(result) is intervention_table(result) is further_table(result) is None
    assert released_table(Section(result, None)) is None


def test_interventions_show_at_most_six_counts_with_both_ends():
    table = intervention_table(synthetic_result())
    assert table.header[3] == "0 set" and table.header[-1] == "28 set" and len(table.header) == 9
    assert len(table.groups[0].lines) == len(synthetic_result().interventions)


def test_released_protocol_stands_beside_the_official_one():
    official = with_rows(row("a", 0.6), row("b", 0.5), row("only here", 0.5))
    released = with_rows(row("b", 0.45), row("a", 0.8), protocol="released")
    (section,) = sections([released, official])
    lines = [[cell.text for cell in x] for x in released_table(section).groups[0].lines]
    assert lines == [["a", "60.0", "80.0", "+20.0"], ["b", "50.0", "45.0", "\u22125.0"]]


def test_only_equal_data_encoder_and_concepts_are_paired():
    official, released = synthetic_result(), synthetic_result(protocol="released")
    other = dataclasses.replace(released, encoder_hash="0" * 64)
    assert sections([official, other]) == [Section(official, None), Section(other, None)]
    with pytest.raises(UserError, match="two result files hold birds"):
        sections([official, official])


def test_facts_say_everything_that_was_promised():
    told = dict(facts(synthetic_result()))
    assert told["encoder"] == "jaxcbm/tiny (210f293237d2)"
    assert told["concepts"] == "birds, 57 phrases (54d52097c0ff)"
    assert told["images"] == "2448 train, 432 validation, 1440 test"
    assert told["protocol"].startswith("official")
    assert told["seeds"] == "5 (0, 1, 2, 3, 4)"
    assert told["hardware"] and told["fitting time"] == "41 min 52 s"
    assert "code" not in told and "load average" not in told


def test_facts_say_which_code_ran_and_how_busy_the_machine_was(tmp_path):
    """Through a file, as reports read them."""
    code, load = Code("1.0", "ab" * 8, "c" * 40, True), Load(0.25, float("nan"), 2)
    write_result(tmp_path / "a.json", dataclasses.replace(synthetic_result(), code=code, load=load))
    told = dict(facts(read_result(tmp_path / "a.json")))
    assert told["code"] == f"jaxcbm 1.0, commit {'c' * 12} (dirty), source {'ab' * 8}"
    assert told["load average"] == "0.2 before, at most nan meanwhile, 2 cores"


def test_tables_say_what_each_method_was_given():
    curve = NecCurves((5.0,), ((0.6,),))
    result = with_rows(
        row("ours", 0.7, given=("labels", "annotations"), nec_curve=curve),
        row("text", 0.6, nec_curve=curve),
    )
    table, at_nec, told = main_table(result), nec_table(result), ("labels, annotations", "nothing")
    assert at_nec is not None
    for each in (table, at_nec):
        assert tuple(cell.text for cell in column(each, "given").values()) == told
    assert any(note.startswith("Given: ") for note in table.notes)
    lines = list(csv.DictReader(io.StringIO(csv_text([result]))))
    assert {line["method"]: line["given"] for line in lines} == {"ours": told[0], "text": ""}


def test_files_that_do_not_say_what_was_given_claim_nothing():
    result = with_rows(row("a", 0.7, nec_curve=NecCurves((5.0,), ((0.6,),))))
    for table in (main_table(result), nec_table(result)):
        assert table is not None and "given" not in table.header
        assert not any(note.startswith("Given: ") for note in table.notes)


def test_csv_has_one_line_a_method_and_metric():
    result = synthetic_result()
    lines = list(csv.DictReader(io.StringIO(csv_text([result]))))
    keys = [(line["method"], line["metric"]) for line in lines]
    assert len(set(keys)) == len(keys)
    first = next(x for x in lines if (x["method"], x["metric"]) == (OURS, "top1"))
    values = result.rows[0].metrics["top1"]
    assert float(first["mean"]) == pytest.approx(statistics.fmean(values), rel=1e-7)
    assert float(first["deviation"]) == pytest.approx(statistics.stdev(values), rel=1e-7)
    assert (first["seeds"], first["sparse"]) == ("5", "1")
    at5 = next(x for x in lines if (x["method"], x["metric"]) == (OURS, "top1_at_nec_5"))
    seeds = [seed[0] for seed in result.rows[0].nec_curve.accuracies]
    assert float(at5["mean"]) == pytest.approx(statistics.fmean(seeds), rel=1e-7)
    alone = next(x for x in lines if x["method"] == "zero-shot")
    assert (alone["deviation"], alone["seeds"]) == ("", "1")


def test_csv_cells_never_begin_a_formula():
    names = ("=1+1", "+a", "-a", "@a", 'plain, "quoted"\nand broken')
    text = csv_text([with_rows(*(row(name, 0.5) for name in names))])
    methods = [line["method"] for line in csv.DictReader(io.StringIO(text))]
    assert methods == ["'=1+1", "'+a", "'-a", "'@a", 'plain, "quoted"\nand broken']


def test_published_numbers_have_sources_and_are_percentages():
    for line in PUBLISHED:
        source = SOURCES[line.source]
        assert source.url.removeprefix("https://arxiv.org/abs/") in source.paper
        assert line.accuracies and set(line.accuracies) <= set(DATASETS)
        assert all(1.0 < value < 100.0 for value in line.accuracies.values())


def test_published_stands_beside_ours_at_the_same_measure():
    curve = NecCurves((5.0, 10.0), ((0.51, 0.6),))
    ours = row("mine", 0.7, published_as="label-free-cbm", nec_curve=curve)
    table = published_table(with_rows(ours, dataset="caltech_birds2011"))
    lines = [[cell.text for cell in line] for group in table.groups for line in group.lines]
    name = "LF-CBM, NEC 5"
    assert [line[2:] for line in lines if line[0] == name] == [["53.51", "51.0"], ["31.35", "51.0"]]
    assert ["74.59", "70.0"] in [line[2:] for line in lines if line[0] == "Label-free CBM"]
    assert all(line[3] == NONE for line in lines if line[0].startswith("VLG"))
    assert all(group.link for group in table.groups)
    assert "not measured here" in table.caption


def test_elsewhere_everything_published_is_shown_apart():
    assert published_table(synthetic_result()) is None
    table = all_published_table()
    assert sum(len(group.lines) for group in table.groups) == len(PUBLISHED)
    assert "not measured here" in table.caption
