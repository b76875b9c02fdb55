import base64
import csv
import dataclasses
import hashlib
import html
import io
import math
import re
import statistics
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from page_parser import parse
from synthetic_result import CLASSES, OURS, synthetic_result

from jaxcbm.evaluation.results.schema import ClassWeights, ContributionValue, Weights
from jaxcbm.pages import render
from jaxcbm.report.facts import sections
from jaxcbm.report.figures import strongest
from jaxcbm.report.pages import html_report, markdown_report
from jaxcbm.report.published import PUBLISHED

EVIL = "</style><script>alert('1')</script><img src=http://evil/x onerror=\"x\">&|`*_\n# [a](b)"
# Headings of the two tables of metrics, and how their numbers are written: factor and digits.
HEADINGS = {
    "top-1 %": ("top1", 100, 1),
    "top-5 %": ("top5", 100, 1),
    "macro F1 %": ("macro_f1", 100, 1),
    "ANEC %": ("anec", 100, 1),
    "NEC": ("nec", 1, 1),
    "active concepts": ("active_concepts", 1, 1),
    "concept AUC": ("concept_auc", 1, 3),
    "fidelity": ("concept_fidelity", 1, 3),
    "ECE %": ("ece", 100, 1),
    "truth at 1 %": ("explanation_truth_1", 100, 1),
    "truth at 3 %": ("explanation_truth_3", 100, 1),
    "truth at 5 %": ("explanation_truth_5", 100, 1),
    "truth at 5, present %": ("explanation_truth_present_5", 100, 1),
    "top-1 % at 80 %": ("selective_top1", 100, 1),
    "set size": ("set_size", 1, 1),
    "random top-1 %": ("random_top1", 100, 1),
    "leakage top-1 %": ("leakage_top1", 100, 1),
    "leakage by chance, top-1 %": ("leakage_chance", 100, 1),
    "clarity": ("clarity", 1, 3),
    "NLL": ("nll", 1, 3),
}


def results():
    return [
        synthetic_result(),
        synthetic_result(protocol="released"),
        synthetic_result("cifar10", classes=10),
    ]


@pytest.fixture(scope="module")
def page():
    return html_report(sections(results()))


def written(values, factor, digits):
    """Mean and sample deviation over seeds, by hand."""
    if not values:
        return "\u2013"
    text = f"{factor * math.fsum(values) / len(values):.{digits}f}"
    if len(values) > 1:
        text += f" \u00b1 {factor * statistics.stdev(values):.{digits}f}"
    return text


def records(tables, *headings):
    """Heading -> cell of every line of the tables that begin with these headings."""
    found = []
    for header, *lines in (table for table in tables if table):
        if tuple(header[: len(headings)]) == headings:
            found.append([dict(zip(header, line, strict=True)) for line in lines if any(line[1:])])
    return found


def markdown_tables(text):
    blocks = (block.splitlines() for block in text.split("\n\n") if block.startswith("|"))
    return [
        [
            [re.sub(r"\\(.)", r"\1", cell.strip().strip("*")) for cell in line.split(" |")[:-1]]
            for line in (line.removeprefix("|") for line in block)
            if not line.startswith("---")
        ]
        for block in blocks
    ]


def tables_of(page, kind):
    if kind == "page":
        return parse(page).tables
    return markdown_tables(markdown_report(sections(results())))


def test_the_page_is_whole_and_loads_nothing(page):
    found = parse(page)
    assert page.startswith("<!doctype html>")
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert not any(name.startswith("on") for _, name, _ in found.attributes)
    for tag, value in found.links:
        inline = value.startswith(("data:image/png;base64,", "data:text/csv;charset=utf-8,", "#"))
        assert inline or (tag == "a" and value.startswith("https://arxiv.org/abs/")), value
    (policy,) = (
        value for _, name, value in found.attributes if name == "content" and "-src" in value
    )
    allowed = dict(rule.partition(" ")[::2] for rule in policy.split("; "))
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"
    for tag in ("script", "style"):
        (own,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert allowed[f"{tag}-src"] == f"'sha256-{digest}'"
    assert own.strip() and render("page.js") in page
    assert found.tags.count("script") == 1 and "url(" not in page.replace("url(#", "")
    assert "@import" not in page and "fetch(" not in page


def metric_lines(tables):
    """Of the tables of metrics: a dict for each dataset from a method to its cells."""
    merged = []
    main, further = (
        [part for part in records(tables, "method", "kind") if heading in part[0]]
        for heading in ("top-1 %", "NLL")
    )
    for first, second in zip(main, further, strict=True):
        assert [line["method"] for line in first] == [line["method"] for line in second]
        merged.append([a | b for a, b in zip(first, second, strict=True)])
    return merged


@pytest.mark.parametrize("kind", ["page", "markdown"])
def test_every_number_of_every_method_is_there(page, kind):
    report = sections(results())
    sets = metric_lines(tables_of(page, kind))
    assert len(sets) == len(report) == 2
    for section, lines in zip(report, sets, strict=True):
        by_name = {line["method"]: line for line in lines}
        assert len(by_name) == len(lines) == len(section.result.rows)
        for row in section.result.rows:
            line = by_name[row.name]
            assert line["kind"] == row.kind
            assert line["fit, s"] == written(row.seconds, 1, 1)
            assert set(row.metrics) <= {name for name, *_ in HEADINGS.values()}
            for heading, (name, *how) in HEADINGS.items():
                assert line[heading] == written(row.metrics.get(name, ()), *how), (row.name, name)


@pytest.mark.parametrize("kind", ["page", "markdown"])
def test_every_point_of_the_curves_is_in_a_table(page, kind):
    report = sections(results())
    tables = tables_of(page, kind)
    for section, nec, interventions in zip(
        report,
        records(tables, "method", "NEC 5"),
        records(tables, "method", "policy"),
        strict=True,
    ):
        curves = {r.name: r.nec_curve for r in section.result.rows if r.nec_curve}
        assert [line["method"] for line in nec] == list(curves)
        for line in nec:
            curve = curves[line["method"]]
            for i, target in enumerate(curve.targets):
                values = [seed[i] for seed in curve.accuracies]
                assert line[f"NEC {target:g}"] == written(values, 100, 1)
        for line, curve in zip(interventions, section.result.interventions, strict=True):
            assert list(line.values())[:3] == [curve.row, curve.policy, curve.values]
            for i, count in enumerate(curve.counts):
                if f"{count} set" in line:
                    values = [seed[i] for seed in curve.accuracies]
                    assert line[f"{count} set"] == written(values, 100, 1)


@pytest.mark.parametrize("kind", ["page", "markdown"])
def test_both_protocols_stand_side_by_side(page, kind):
    official, released, _ = results()
    (lines,) = records(tables_of(page, kind), "method", "official", "released")
    assert len(lines) == len(official.rows)
    for line, ours, theirs in zip(lines, official.rows, released.rows, strict=True):
        assert line["method"] == ours.name == theirs.name
        assert line["official"] == written(ours.metrics["top1"], 100, 1)
        assert line["released"] == written(theirs.metrics["top1"], 100, 1)


@pytest.mark.parametrize("kind", ["page", "markdown"])
def test_published_numbers_stand_apart(page, kind):
    tables = tables_of(page, kind)
    (beside,) = records(tables, "method", "encoder", "published %")
    on_cifar = [line for line in PUBLISHED if "cifar10" in line.accuracies]
    assert [line["published %"] for line in beside] == [
        f"{x.accuracies['cifar10']:g}" for x in on_cifar
    ]
    (every,) = records(tables, "method", "encoder", "CIFAR-10")
    assert len(every) == len(PUBLISHED)


def test_every_class_and_every_explained_image_has_its_bars(page):
    found = parse(page)
    bars = [table for table in found.tables if table and table[0][0] != "method"]
    expected = []
    for result in (results()[0], results()[2]):
        expected += [[phrase for phrase, _ in strongest(c)] for c in result.class_weights.classes]
        images = sorted(result.explanations.images, key=lambda image: image.group)
        expected += [
            [*(part.label for part in image.contributions), "class bias and all others"]
            for image in images
        ]
    assert [[line[0] for line in lines] for lines in bars] == expected
    assert found.tags.count("img") == 2 * 8
    assert all(name in found.text for name in CLASSES) and found.text.count("and 1 more") > 0
    values = [line[1] for line in bars[0]]
    weights = [w for _, w in strongest(results()[0].class_weights.classes[0])]
    assert values == [f"{w:+.2f}".replace("-", "\u2212") for w in weights]


def test_every_figure_is_there_with_its_name(page):
    attributes = parse(page).attributes
    labels = [value for tag, name, value in attributes if (tag, name) == ("svg", "aria-label")]
    drawn = [label.partition(": ")[2] for label in labels if "legend" not in label]
    one = ["top-1 against NEC"]
    one += [f"reliability of {name}" for name in (OURS, "CDM", "linear probe")]
    one += [f"interventions on {name}" for name in (OURS, "Label-free CBM")]
    # Ten classes are ribbons too; 48 are bars alone.
    assert drawn == [*one, *one, "concepts and the classes that read them"]
    assert len(labels) == len(set(labels)) == len(drawn) + 2 * 3


def files_of(page):
    """The CSV files that a page offers, by their names, each a list of dicts."""
    found, files = parse(page).attributes, {}
    for i, (tag, name, value) in enumerate(found):
        if (tag, name) == ("a", "download"):
            kind, _, text = found[i + 1][2].partition(",")
            assert found[i + 1][1] == "href" and kind == "data:text/csv;charset=utf-8"
            files.setdefault(value, []).append(list(csv.DictReader(io.StringIO(unquote(text)))))
    return files


def test_every_chart_has_what_it_draws_as_csv(page):
    files, result = files_of(page), results()[0]
    assert sum(map(len, files.values())) == parse(page).tags.count("figure") + 2 * 2
    drawn = files["Sparsity Accuracy against sparsity.csv"][0]
    curves = {row.name: row.nec_curve for row in result.rows if row.nec_curve}
    assert len(drawn) == 6 * len(curves)
    for line in drawn:
        curve = curves[line["curve"]]
        at = curve.targets.index(float(line["concepts a class uses (NEC)"]))
        values = [seed[at] for seed in curve.accuracies]
        assert float(line["mean top-1"]) == pytest.approx(statistics.fmean(values))
        assert float(line["deviation"]) == pytest.approx(statistics.stdev(values))
        assert line["seeds"] == "5"
    bins = files["Calibration CDM.csv"][0]
    assert [int(line["images"]) for line in bins] == list(result.reliability[1].counts)
    weights = files["Weights.csv"][0]
    assert [(line["concept"], float(line["weight"])) for line in weights] == [
        (phrase, pytest.approx(weight))
        for each in result.class_weights.classes
        for phrase, weight in strongest(each)
    ]
    reasons = files["Explained images.csv"][0]
    assert len(reasons) == sum(len(i.contributions) + 1 for i in result.explanations.images)


def test_every_point_says_its_numbers(page):
    (drawn,) = re.findall(r'<svg[^>]*aria-label="birds[^"]*NEC".*?</svg>', page)
    said = [html.unescape(text) for text in re.findall("<title>(.*?)</title>", drawn)]
    lines = files_of(page)["Sparsity Accuracy against sparsity.csv"][0]
    for text, line in zip(said, lines, strict=True):
        mean, deviation = (100 * float(line[name]) for name in ("mean top-1", "deviation"))
        at = line["concepts a class uses (NEC)"]
        assert (
            text == f"{line['curve']}: {mean:.1f} \u00b1 {deviation:.1f} % at {at} {list(line)[1]}"
        )


def test_no_cell_of_a_chart_s_csv_is_a_formula():
    result = evil_result()
    weights = Weights("a", (ClassWeights("=1+1", {"@b": 1.0, "-c": -1.0}),))
    files = files_of(html_report(sections([dataclasses.replace(result, class_weights=weights)])))
    assert [line["class"] for line in files["Weights.csv"][0]] == ["'=1+1"] * 2
    assert [line["concept"] for line in files["Weights.csv"][0]] == ["'@b", "'-c"]


def test_every_anchor_has_its_place(page):
    found = parse(page)
    ids = [value for _, name, value in found.attributes if name == "id"]
    links = [value[1:] for _, value in found.links if value.startswith("#")]
    assert len(set(ids)) == len(ids) and set(links) <= set(ids)
    assert {"data-0", "data-1"} <= set(links)


def test_the_same_results_give_the_same_pages(page):
    fresh = sections(results())
    assert html_report(fresh).encode() == page.encode()
    other = dataclasses.replace(results()[0], rows=results()[0].rows[1:])
    assert html_report(sections([other, *results()[1:]])) != page


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
    assert found.tags.count("script") == found.tags.count("style") == 1
    assert found.tags.count("img") == 1
    assert not any(name.startswith("on") for _, name, _ in found.attributes)
    assert found.text.count(EVIL) > 15
    # In pictures names stand on one line.
    assert found.text.count(" ".join(EVIL.split())) >= 1 and "<script>alert" not in page


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


def test_markdown_marks_the_best_and_links_its_sources():
    text = markdown_report(sections(results()))
    assert f"| {OURS} | ours | **" in text
    assert "[*Semenov et al. 2024" in text and "(https://arxiv.org/abs/2404.03323)" in text


def test_released_numbers_alone_carry_a_warning():
    report = sections([synthetic_result(protocol="released")])
    assert 'class="warning"' in html_report(report)
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


def test_no_name_of_a_result_file_is_a_link_in_markdown():
    evil = "]](javascript:alert(1)) [a](javascript:alert(1))"
    result = synthetic_result()
    rows = [dataclasses.replace(row, name=f"{row.name}{evil}", note=evil) for row in result.rows]
    curves = [dataclasses.replace(c, row=evil, values=evil) for c in result.interventions]
    named = dataclasses.replace(
        result, encoder=evil, notes=(evil,), rows=tuple(rows), interventions=tuple(curves)
    )
    page = MarkdownIt("commonmark").enable("table").render(markdown_report(sections([named])))
    links = {value for _, value in parse(page).links}
    assert links and all(link.startswith("https://arxiv.org/abs/") for link in links)
    assert parse(page).text.count(evil) > len(rows)
