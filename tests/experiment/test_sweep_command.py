import csv
import json
import math
import shlex
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from jaxcbm.cli import main
from jaxcbm.code_version import this_code
from jaxcbm.errors import UserError
from jaxcbm.experiment import content_key
from jaxcbm.experiment.sweep import parse_grid, read_runs, write_runs
from jaxcbm.report.sweep_pages import overrides
from jaxcbm.report.sweep_plot import Point, axes_of, sweep_plot
from jaxcbm.training.sweep import sweep
from jaxcbm.training.sweep.ranking import rank
from jaxcbm.training.sweep.sweep import Outcome

ROOT = Path(__file__).parents[2]
GRID = ("--grid.training.cbl.learning_rate=1e-4,1e-2", "--grid.training.seed=0,1")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, picture_folder, tiny_encoder_folder):
    folder = tmp_path_factory.mktemp("sweep")
    phrases = folder / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    return [
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--config.data.root={picture_folder}",
        f"--config.concepts={phrases}",
        f"--config.encoder.name={tiny_encoder_folder}",
        f"--config.features={folder / 'features'}",
        "--config.bottleneck.objective=l1",
        "--config.training.epochs=2",
        "--config.mesh.data=1",
    ]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, settings):
    workdir = tmp_path_factory.mktemp("swept") / "run"
    assert main(["-q", "sweep", f"--workdir={workdir}", *settings, *GRID]) == 0
    return workdir


def test_a_sweep_leaves_tables_and_a_picture(swept):
    table = json.loads((swept / "sweep.json").read_text())
    assert table["runs"] == 4 and len(table["settings"]) == 2
    assert all(len(setting["runs"]) == 2 for setting in table["settings"])
    with open(swept / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    accuracies = [float(row["valid_top1"]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    for row, setting in zip(rows, table["settings"], strict=True):
        mean = sum(run["valid_top1"] for run in setting["runs"]) / 2
        assert math.isclose(float(row["valid_top1"]), mean)
    text = (swept / "sweep.md").read_text()
    assert r"| cbl.learning\_rate |" in text and table["best"]["overrides"][0] in text
    assert (swept / "plots" / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_sweep_is_not_run_again_and_a_wider_grid_runs_what_is_missing(
    swept, settings, monkeypatch, capsys
):
    started = []
    run_family = sweep.run_family

    def spy(family, *args):
        started.append(family)
        return run_family(family, *args)

    monkeypatch.setattr(sweep, "run_family", spy)
    files = {file.name: file.stat().st_mtime_ns for file in (swept / "runs").iterdir()}
    argv = ["-q", "sweep", f"--workdir={swept}", *settings]
    assert main([*argv, *GRID]) == 0
    assert not started
    assert files == {file.name: file.stat().st_mtime_ns for file in (swept / "runs").iterdir()}
    assert main([*argv, *GRID, "--grid.bottleneck.objective=l1,similarity"]) == 0
    assert [family.structure for family in started] == [{"bottleneck.objective": "similarity"}]
    assert "similarity" in capsys.readouterr().out


def test_runs_of_other_code_are_run_again(swept, settings, tmp_path, monkeypatch):
    workdir, now = shutil.copytree(swept, tmp_path / "run"), this_code()
    before = {file.name for file in (workdir / "runs").iterdir()}
    monkeypatch.setattr(content_key, "this_code", lambda: replace(now, source="0" * 16))
    assert main(["-q", "sweep", f"--workdir={workdir}", *settings, *GRID]) == 0
    assert {file.name for file in (workdir / "runs").iterdir()} - before


def test_a_name_from_python_may_hold_a_comma():
    grid = {"concepts": ["a,b.txt", "birds"], "training.cbl.learning_rate": [1e-4, 1]}
    assert parse_grid(grid) == {
        "concepts": ("a,b.txt", "birds"),
        "training.cbl.learning_rate": (1e-4, 1.0),
    }
    assert parse_grid(["--grid.concepts=a, b.txt"]) == {"concepts": ("a", "b.txt")}
    with pytest.raises(UserError, match="concepts: give the grid at least one value"):
        parse_grid({"concepts": []})


def test_the_printed_command_trains_the_best_setting(swept, settings, tmp_path, capsys):
    assert main(["-q", "sweep", f"--workdir={swept}", *settings, *GRID]) == 0
    lines = capsys.readouterr().out
    words = shlex.split(lines[lines.index("jaxcbm train") :].replace("\\\n", ""))
    best = json.loads((swept / "sweep.json").read_text())["best"]["overrides"]
    assert set(best) <= set(words) and set(settings) <= set(words)
    assert not any("seed" in word for word in words)
    words = [word.replace("BEST", str(tmp_path / "best")) for word in words[1:]]
    assert main(["-q", *words, "--config.sparse_head.enabled=False"]) == 0
    config = json.loads((tmp_path / "best" / "config.json").read_text())
    rate = config["training"]["cbl"]["learning_rate"]
    assert f"--config.training.cbl.learning_rate={rate}" in best


def test_equal_runs_on_other_phrases_are_kept_apart(tmp_path):
    runs = {count: Outcome("same", {}, 1.0, count / 10, 1, 1.0) for count in (2, 3)}
    for count, outcome in runs.items():
        write_runs(tmp_path, [outcome], {"concepts": {"count": count}})
    for count, outcome in runs.items():
        assert read_runs(tmp_path, {"concepts": {"count": count}}) == {"same": outcome}


def test_sets_of_phrases_and_their_sizes_are_axes(settings, tmp_path, monkeypatch):
    other = tmp_path / "other.txt"
    other.write_text("a round shape\na square shape\na soft edge\n")
    phrases = next(s for s in settings if "--config.concepts=" in s).partition("=")[2]
    workdir = tmp_path / "run"
    axes = (f"--grid.concepts={phrases},{other}", "--grid.concept_count=2,3")
    argv = ["-q", "sweep", f"--workdir={workdir}", *settings, *axes, GRID[0]]
    assert main(argv) == 0
    found = json.loads((workdir / "sweep.json").read_text())
    assert found["runs"] == len(found["settings"]) == 8
    seen = [tuple(own["setting"].values()) for own in found["settings"]]
    assert set(seen) == set(product((phrases, str(other)), (2, 3), (1e-4, 1e-2)))
    # Equal settings of the fit are runs of their own for every set.
    assert len({own["runs"][0]["valid_loss"] for own in found["settings"]}) == 8
    assert [source["concepts"]["count"] for source in found["sources"]] == [2, 3, 2, 3]
    assert len({source["concepts"]["hash"] for source in found["sources"]}) == 4
    accuracies = [own["top1"] for own in found["settings"]]
    assert accuracies == sorted(accuracies, reverse=True)
    best = found["settings"][0]["setting"]
    assert found["best"]["overrides"] == [f"--config.{k}={v}" for k, v in best.items()]
    assert found["concepts"]["count"] == best["concept_count"]

    def never(*_, **__):
        raise AssertionError("all runs are there")

    monkeypatch.setattr(sweep, "run_family", never)
    assert main(argv) == 0
    again = json.loads((workdir / "sweep.json").read_text())
    assert again["settings"] == found["settings"]
    # A set alone is what a plain sweep of that set finds.
    plain = ["-q", "sweep", f"--workdir={tmp_path / 'plain'}", *settings, GRID[0]]
    monkeypatch.undo()
    assert main(plain) == 0
    alone = json.loads((tmp_path / "plain" / "sweep.json").read_text())["settings"]
    same = [s for s in found["settings"] if s["setting"] | {"concept_count": 3} == s["setting"]]
    same = [s for s in same if s["setting"]["concepts"] == phrases]
    for one, two in zip(same, alone, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "grid,words",
    [
        (["--grid.concept_count=two"], ["concept_count", "'two'"]),
        (["--grid.concept_count=9"], ["concept_count=9", "3 phrases"]),
        (["--grid.concepts=nowhere.txt"], ["nowhere.txt"]),
        ([], ["a sweep needs a grid", "--grid.training.seed=0,1,2"]),
        (["--grid.training.seed"], ["--grid.training.seed=V1,V2"]),
        (["--grid.training.seed=0", "--grid.training.seed=1"], ["twice"]),
        (["--grid.training.lr=1"], ["training.lr", "unknown field"]),
        (["--grid.training.seed=0,1", "--memory=0.0000001"], ["one run takes about", "memory"]),
        (["--grid.training.seed=0,1", "--grids=3"], ["--grids=3"]),
    ],
)
def test_bad_grids_are_one_line(grid, words, settings, tmp_path, capsys):
    capsys.readouterr()
    assert main(["-q", "sweep", f"--workdir={tmp_path / 'run'}", *settings, *grid]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("jaxcbm: error:")
    for word in words:
        assert word in error


def test_diverged_runs_and_every_kind_of_axis_are_drawn(tmp_path):
    runs = []
    for i, (j, objective), seed in product(range(3), enumerate(("gumbel", "l1")), range(2)):
        setting = {"b.objective": objective, "t.rate": 10.0**-i, "t.k": i, "training.seed": seed}
        top1 = float("nan") if i == j == 1 else 0.1 * i + j / 5
        runs.append(Outcome(f"{i}{j}{seed}", setting, 1.0, top1, 1, 1.0))
    ranked = rank(runs)
    assert math.isnan(ranked[-1].top1)
    points = [Point(own.setting, own.top1, own.top1_deviation) for own in ranked]
    assert axes_of(points)["t.rate"] == [0.01, 0.1, 1.0]
    sweep_plot(points, tmp_path / "all.png")
    sweep_plot(points[:1], tmp_path / "one.png")
    sweep_plot(points[-1:], tmp_path / "none.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("all", "one"))
    assert overrides(ranked[0])[0] == f"--config.b.objective={ranked[0].setting['b.objective']}"
