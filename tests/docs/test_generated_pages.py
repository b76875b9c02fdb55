"""Pages that are made from the code leave nothing out."""

import argparse
import json
import re
from pathlib import Path

import pytest
from generated_pages import commands_page, notebooks_page, settings_page

import jaxcbm
from jaxcbm.cli import build_parser
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.config_file import shipped_configs
from jaxcbm.experiment.pretrain import PretrainExperiment
from jaxcbm.typed_json import settings_of

PYTHON_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"


def rows(page: str) -> dict[str, list[str]]:
    """The cells of every row of its tables, by the code in the first one."""
    lines = (re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line[:1] == "|")
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.parametrize("kind", [Experiment, PretrainExperiment])
def test_every_setting_has_its_default_its_range_and_its_meaning(kind):
    page = settings_page()
    # Both have a section `training`, with fields of the same names.
    part = page.partition("## A pre-training")[kind is PretrainExperiment and 2]
    told = rows(part)
    for setting in settings_of(kind):
        if kind is PretrainExperiment and setting.name.startswith("mesh."):
            continue
        value = kind()
        for name in setting.name.split("."):
            value = getattr(value, name)
        default, may_be, meaning = told[setting.name]
        assert default.strip("` ") == repr(value)
        assert may_be.replace("`", "'") == setting.kind.replace("|", "\\|")
        assert meaning and meaning == setting.meaning.replace("|", "\\|"), setting.name


def test_every_shipped_config_is_listed():
    assert shipped_configs().keys() <= rows(settings_page()).keys()


def parsers(parser: argparse.ArgumentParser):
    """Every parser that runs something."""
    inner = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for child in action.choices.values():
            yield from parsers(child)


def test_every_command_has_its_flags_and_its_example():
    page = commands_page()
    for parser in parsers(build_parser()):
        text = re.split(r"^## ", page.partition(f"## {parser.prog}\n")[2], flags=re.M)[0]
        assert f"](#{parser.prog.replace(' ', '-')})" in page
        for action in parser._actions:
            for flag in action.option_strings:
                assert flag in ("-h", "--help") or f"`{flag}" in text, (parser.prog, flag)
        example = (parser.epilog or "").partition("example:\n  ")[2]
        assert all(line.strip() in text for line in example.splitlines())


def test_every_public_name_is_on_the_page_of_python():
    shown = re.findall(r"^::: jaxcbm\.(\w+)$", PYTHON_PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(shown) == sorted(jaxcbm.__all__)


@pytest.mark.parametrize("address", ["", "https://github.com/someone/jaxcbm"])
def test_notebooks_open_in_colab_where_the_repository_has_an_address(tmp_path, address):
    cells = [{"cell_type": "markdown", "source": ["# Birds\n", "\n", "All of them."]}]
    (tmp_path / "birds.ipynb").write_text(json.dumps({"cells": cells}))
    page = notebooks_page(tmp_path, address)
    assert "## Birds\n\nAll of them.\n" in page
    place = (
        "https://colab.research.google.com/github/someone/jaxcbm/blob/main/notebooks/birds.ipynb"
    )
    assert (place in page) == bool(address)
