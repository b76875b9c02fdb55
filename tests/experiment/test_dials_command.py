"""`jaxcbm dials` on a few birds: what it writes, shares, does not run twice, and refuses."""

import csv
from pathlib import Path

import pytest

from jaxcbm.cli import main
from jaxcbm.data.birds.dials import DIALS
from jaxcbm.data.birds.species import PHRASES
from jaxcbm.data.datasets import load_dataset
from jaxcbm.data.phrase_key import phrase_key
from jaxcbm.evaluation.results.file import read_result
from jaxcbm.experiment import dials
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.methods import METHODS
from jaxcbm.experiment.prepare import concepts_of

FEW = {"data.images_per_class": 2, "data.valid_fraction": 0.5}
ROWS = ["LaBo", "zero-shot, templates"]


def command(workdir: Path, *more: str) -> list[str]:
    settings = [f"--config.{field}={value}" for field, value in FEW.items()]
    rows = [f"--method={name}" for name in ROWS]
    return ["-q", "dials", f"--workdir={workdir}", *settings, *rows, *more]


@pytest.fixture(scope="module")
def few_levels():
    """One level a dial beside zero."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dials, "LEVELS", {dial: (own[-1],) for dial, own in dials.LEVELS.items()})
        yield


@pytest.fixture(scope="module")
def turned(tmp_path_factory, few_levels):
    workdir = tmp_path_factory.mktemp("dials") / "birds"
    assert main(command(workdir, "--dial=missing_concepts", "--dial=shortcut")) == 0
    return workdir


def results_of(workdir: Path) -> dict:
    return {file.stem: read_result(file) for file in (workdir / "results" / "dials").iterdir()}


def test_every_dial_has_levels_within_its_range():
    assert tuple(dials.LEVELS) == DIALS
    for levels in dials.LEVELS.values():
        assert levels[0] > 0 and list(levels) == sorted({*levels}) and levels[-1] <= 1


def test_there_is_one_result_a_level_and_it_says_which(turned):
    results = results_of(turned)
    assert {name: result.dials for name, result in results.items()} == {
        "zero": {},
        "missing_concepts-0.75": {"missing_concepts": 0.75},
        "shortcut-0.9": {"shortcut": 0.9},
    }
    for result in results.values():
        assert [row.name for row in result.rows] == ROWS and result.explanations is None


def test_withheld_concepts_are_gone_and_shortcuts_change_what_is_learnt(turned):
    results = results_of(turned)
    assert results["zero"].concepts.count == results["shortcut-0.9"].concepts.count == 57
    assert results["missing_concepts-0.75"].concepts.count == 14
    top1 = {name: result.rows[0].metrics["top1"] for name, result in results.items()}
    assert len({*top1.values()}) == 3
    # What needs neither train images nor concepts is the same on the same test pictures.
    assert len({result.rows[1].metrics["top1"] for result in results.values()}) == 1


def test_a_page_with_its_table_and_pictures_lies_beside_them(turned):
    assert (turned / "dials.md").read_text().count("shortcut 0.9 |") >= 2
    for name in ("dials", "dials_birds"):
        assert (turned / "pictures" / f"{name}.png").stat().st_size > 10_000
    with (turned / "results" / "dials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["dial"] for line in lines} == {"missing_concepts", "shortcut"}
    zero = [line for line in lines if line["level"] == "0.0" and line["method"] == ROWS[1]]
    assert len(zero) == 2 and zero[0]["mean"] == zero[1]["mean"]


def test_what_is_done_is_not_run_again(turned, monkeypatch):
    """Another call, from Python, measures what is missing and shares the rest, zero among it."""
    ran = []

    def noted(name, method):
        return method._replace(run=lambda *args: ran.append(name) or method.run(*args))

    for name in ROWS:
        monkeypatch.setitem(METHODS, name, noted(name, METHODS[name]))
    before, names = results_of(turned), ["missing_concepts", "shortcut"]
    gone = next(turned.glob("rows/*/labo-0.json"))
    gone.unlink()
    dials.run("quickstart", turned, changes=FEW, dials=names, methods=ROWS)
    assert ran == ["LaBo"] and gone.exists()
    after = results_of(turned)
    for name, result in after.items():
        assert result.rows[1] == before[name].rows[1]
        assert result.rows[0].metrics == before[name].rows[0].metrics


@pytest.mark.parametrize(
    "more, told",
    [
        (["--dial=magic"], "no dial 'magic': choose among annotation_noise"),
        (["--config.data.dials.shortcut=0.5"], "config.data.dials.shortcut is set"),
        (["--config.data.name=fashion_mnist"], "config.data.name=fashion_mnist has no dials"),
        (["--config.data.dials.shortcut=2"], "data.dials.shortcut must be a number, 0 to 1"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, few_levels, more, told):
    assert main(command(tmp_path / "x", *more)) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_dial_leaves_the_concept_set_of_other_settings_alone():
    def phrases(**changes):
        named = {name.replace("__", "."): value for name, value in changes.items()}
        return concepts_of(read_experiment("quickstart", named))

    assert phrases() == phrases(data__dials__shortcut=1.0)
    fewer = phrases(data__dials__missing_concepts=0.5)
    assert len(fewer) == 29 and set(fewer.phrases) < set(phrases().phrases)
    assert fewer.filters[-1].name == "missing_concepts"
    own = {*map(phrase_key, PHRASES)}
    others = {phrase for phrase in phrases(concepts="cub").phrases if phrase_key(phrase) not in own}
    assert others <= {*phrases(data__dials__missing_concepts=0.5, concepts="cub").phrases}


def test_a_phrase_in_other_words_is_withheld_too(tmp_path):
    file = tmp_path / "phrases.txt"
    file.write_text("".join(f"a {phrase}\n" for phrase in PHRASES))
    changes = {"data.dials.missing_concepts": 0.5}
    kept = concepts_of(read_experiment("quickstart", changes)).phrases
    others = concepts_of(read_experiment("quickstart", {**changes, "concepts": str(file)})).phrases
    assert {*map(phrase_key, others)} == {*map(phrase_key, kept)}
    assert len(others) == 29


@pytest.mark.parametrize("seed", [0, 3])
def test_concept_set_and_annotations_lack_the_same_phrases(seed):
    changes = {"data.dials.missing_concepts": 0.5, "data.seed": seed, "data.images_per_class": 1}
    experiment = read_experiment("quickstart", changes)
    kept = {*concepts_of(experiment).phrases}
    for images in load_dataset(experiment.data)[:2]:
        assert images is not None and {*images.annotation_phrases} == kept
