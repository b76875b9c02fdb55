"""Finished runs and sweeps side by side, on a terminal and as pages."""

import csv
import io
import json
from pathlib import Path

import pytest

from jaxcbm.cli import main
from jaxcbm.errors import UserError
from jaxcbm.report import runs
from jaxcbm.report.sweep_pages import write_results
from jaxcbm.training.sweep.ranking import rank
from jaxcbm.training.sweep.sweep import Outcome


def finished(folder: Path, top1: float, *, data: str = "birds", seed: int = 0, **settings) -> Path:
    """A work directory with what a report reads of it."""
    folder.mkdir(parents=True)
    config = {"data": {"name": data}, "training": {"seed": seed, "epochs": 3}, **settings}
    metrics = {
        "test": {"images": 9.0, "top1": top1, "nec": 4.0, "new_one": 0.5},
        "validation": {},
        "data": {"name": data, "protocol": "official", "test": 9},
        "encoder": {"name": "jaxcbm/tiny", "hash": "ab"},
        "concepts": {"count": 3, "hash": "cd"},
        "hardware": {},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def swept(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"data": {"name": "birds"}}))
    made = [
        Outcome(f"{a}{seed}", {"a.b": a, "training.seed": seed}, 1.0, a + seed / 10, 1, 1.0)
        for a in (0.2, 0.4)
        for seed in (0, 1)
    ]
    about = {"concepts": {"count": 3, "hash": "cd"}, "runs": 4}
    about |= {"train": {"images": 20}, "valid": {"images": 7}}
    write_results(folder, rank(made), about)
    return folder


def test_seeds_are_one_line_and_other_settings_are_said(tmp_path):
    finished(tmp_path / "a0", 0.5)
    finished(tmp_path / "a1", 0.7, seed=1)
    finished(tmp_path / "b", 0.4, concepts="cub", features="/somewhere/else")
    ((data, table),) = runs.tables(runs.read_runs([tmp_path]))
    assert data == "birds, official protocol, 9 test images"
    one, other = table.groups[0].lines
    place = table.header.index("top-1 %")
    assert [cell.text for cell in one[:3]] == ["a0, a1", "", "2"]
    assert (one[place].text, one[place].best) == ("60.0 \u00b1 14.1", True)
    assert (other[place].text, other[place].best) == ("40.0", False)
    # One of them does not have the setting, so that nothing is known to differ; of places, nothing.
    finished(tmp_path / "c", 0.1, concepts="birds")
    lines = runs.tables(runs.read_runs([tmp_path]))[0][1].groups[0].lines
    assert [line[1].text for line in lines] == ["", "concepts=cub", "concepts=birds"]


def test_other_data_is_another_table_and_a_sweep_is_of_validation(tmp_path):
    finished(tmp_path / "runs" / "a", 0.5)
    finished(tmp_path / "runs" / "b", 0.5, data="fashion_mnist")
    swept(tmp_path / "runs" / "s")
    found = dict(runs.tables(runs.read_runs([tmp_path / "runs"])))
    assert [title.split(",")[0] for title in found] == ["birds", "birds", "fashion_mnist"]
    table = found["birds, sweeps, 7 validation images"]
    (line,) = table.groups[0].lines
    assert line[2].text == "2" and table.header[-1] == "validation top-1 %"
    assert line[-1].text.startswith("45.0")


def test_on_a_terminal(tmp_path, capsys):
    for name, top1 in (("a", 0.5), ("longer name", 0.75)):
        finished(tmp_path / name, top1, concepts=name)
    (tmp_path / "no run").mkdir()
    assert main(["report", "--runs", *map(str, sorted(tmp_path.iterdir()))]) == 0
    data, header, first, second = capsys.readouterr().out.rstrip().split("\n")
    assert data.startswith("birds")
    at = header.index("top-1 %")
    assert (first[at:].split()[0], second[at:].split()[:2]) == ("50.0", ["75.0", "*"])


def test_pages_in_which_text_is_no_markup(tmp_path, capsys):
    strange = "=1+1 <b>|x|</b>"
    finished(tmp_path / "runs" / "a", 0.5, concepts=strange)
    finished(tmp_path / "runs" / "b", 0.25, concepts="birds")
    assert main(["report", f"--runs={tmp_path / 'runs'}", f"--output={tmp_path / 'out'}"]) == 0
    assert capsys.readouterr().out.count("written: ") == 3
    texts = {path.suffix: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert texts.keys() == {".md", ".csv", ".html"}
    assert "<b>|" not in texts[".html"] and "<b>" not in texts[".md"]
    assert "figures are in" not in texts[".md"]
    rows = list(csv.DictReader(io.StringIO(texts[".csv"])))
    top1 = {row["run"]: float(row["value"]) for row in rows if row["metric"] == "top1"}
    assert top1 == {"a": 0.5, "b": 0.25}


def test_the_same_name_twice(tmp_path):
    for part in ("x", "y"):
        finished(tmp_path / part / "run", 0.5, concepts=part)
    found = runs.read_runs([tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "x"])
    assert [run.name for run in found] == ["x/run", "y/run"]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"test": 3}', b"\xff", b"[" * 10**5])
def test_a_damaged_run_is_one_line(tmp_path, content):
    (finished(tmp_path / "a", 0.5) / "metrics.json").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics.json.*writes it again"):
        runs.read_runs([tmp_path])
    (tmp_path / "a" / "metrics.json").unlink()
    (tmp_path / "a" / "sweep.json").write_bytes(content)
    with pytest.raises(UserError, match="writes it again"):
        runs.read_runs([tmp_path / "a"])


def test_nothing_to_compare(tmp_path, capsys):
    assert main(["report", f"--runs={tmp_path}"]) == 2
    assert "no finished run" in capsys.readouterr().err
    assert main(["report"]) == 2
    assert main(["report", f"--results={tmp_path}/a.json"]) == 2
