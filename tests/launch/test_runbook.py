"""The runbook names scripts, settings and commands that are there."""

import json
import re

import pytest
from fake_tools import LAUNCH

from jaxcbm.cli import build_parser
from jaxcbm.experiment.config import default_config

ROOT = LAUNCH.parent
TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


def test_every_script_is_named_and_there():
    named = set(re.findall(r"launch/([a-z_]+\.(?:sh|sbatch))", TEXT))
    there = {path.name for path in LAUNCH.glob("*.s*") if path.name != "dry_run.sh"}
    assert named == there


def test_every_setting_exists():
    config = default_config()
    for name in set(re.findall(r"--config\.([a-z_.]+[a-z_])", TEXT)):
        place = config
        for part in name.split("."):
            assert part in place, name
            place = place[part]


def test_every_command_exists():
    help = build_parser().format_help()
    for name in set(re.findall(r"\bjaxcbm (train|plan|bench|evaluate|explain|export)\b", TEXT)):
        assert re.search(rf"^    {name}\b", help, re.MULTILINE), name


def test_every_variable_that_a_script_needs_is_exported():
    for script in LAUNCH.glob("*.sh"):
        for line in re.findall(r"^ *need ([A-Z_ ]+)$", script.read_text(), re.MULTILINE):
            for name in line.split():
                assert re.search(rf"\b{name}=", TEXT), f"{script.name} needs {name}"


def plan_row(name: str) -> str:
    """The figures of one plan as the runbook's table has them."""
    plan = json.loads((ROOT / "docs" / "results" / "plan" / f"{name}.json").read_text())
    times = [plan["seconds"][kind] for kind in ("overlapped", "serial")]
    steps, millions = plan["images"] / plan["batch_size"], plan["images"] / 1e6
    dollars = [price * millions for price in plan["dollars_per_million_images"]]
    figures = [
        plan["topology"],
        f"{plan['needed_bytes'] / 2**30:.2f} GiB",
        f"{1e3 * times[0]:.2g} to {1e3 * times[1]:.2g} ms",
        f"{steps * times[0]:.1f} to {steps * times[1]:.1f} s",
        f"${dollars[0]:.3f} to ${dollars[1]:.3f}",
    ]
    return " | ".join(figures)


@pytest.mark.parametrize("name", ["encode-v5e-16", "train-4751"])
def test_the_figures_are_those_of_the_plan(name):
    assert plan_row(name) in TEXT, f"write this into the runbook's table: {plan_row(name)}"
