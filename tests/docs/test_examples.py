"""What the pages show runs: Python as it stands, commands through the real parser."""

import ast
import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcbm.cli import _parse, main
from jaxcbm.data.birds.birds import load_birds
from jaxcbm.experiment.config_file import read_config, shipped_configs

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
# An encoder that need not be downloaded, in the place of those that people use.
HUB_NAME = "openai/clip-vit-base-patch32"


def python_blocks(page: str) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGES[page], re.M | re.S)
    return [block.replace(HUB_NAME, "jaxcbm/tiny") for block in blocks]


def commands(page: str) -> list[str]:
    """Command lines of blocks, indented or fenced, with the page's shell variables filled in."""
    text = PAGES[page]
    given = dict(re.findall(r'^(\w+)="([^"]*)"$', text, re.M))
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", text, re.M | re.S)
    blocks += re.findall(r"((?:^ {4,}.*\n)+)", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    joined = "\n".join(blocks).replace("\\\n", " ")
    lines = [part for line in joined.splitlines() for part in re.split(r"&&|\|\|?|;", line)]
    filled = [re.sub(r"\$(\w+)", lambda name: given.get(name[1], name[1]), line) for line in lines]
    return [line.strip() for line in filled if re.match(r"\s*(\w+=\S+ )*jaxcbm ", line)]


SHOWING_PYTHON = [page for page in PAGES if python_blocks(page)]
SHOWING_COMMANDS = [page for page in PAGES if commands(page)]


def test_the_pages_of_a_beginner_show_something():
    assert {"README.md", "docs/start.md", "docs/howto/pictures.md"} <= set(SHOWING_PYTHON)
    assert {"README.md", "docs/start.md", "docs/runbook.md"} <= set(SHOWING_COMMANDS)


def test_every_extra_of_a_user_is_in_the_table_of_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = re.findall(r"^\| (`.*?) \|", PAGES["docs/start.md"], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    theirs = {"test", "launch", "browser", "docs", "dev", "benchmark"}
    assert (
        named & set(project["optional-dependencies"])
        == set(project["optional-dependencies"]) - theirs
    )


@pytest.mark.parametrize("page", SHOWING_COMMANDS)
def test_every_command_line_is_one(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "withdrawn.txt").write_text("0\n")
    for line in commands(page):
        words = shlex.split(line, comments=True)
        args, overrides = _parse(words[words.index("jaxcbm") + 1 :])
        if args.config in shipped_configs():
            read_config(args.config, overrides)


@pytest.mark.parametrize("page", SHOWING_PYTHON)
def test_every_python_block_imports_what_is_there(page):
    for block in python_blocks(page):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                for name in node.names:
                    getattr(import_module(node.module), name.name)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "jaxcbm":
                getattr(import_module("jaxcbm"), node.attr)


@pytest.mark.slow
@pytest.mark.parametrize("page", SHOWING_PYTHON)
def test_the_python_blocks_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    """In a folder with what pages ask for: pictures, phrases, perhaps a finished run.

    A fragment that cannot run alone is fenced as `py`.
    """
    birds = load_birds("train", images_per_class=6)
    for index in np.flatnonzero(birds.labels < 3):
        folder = tmp_path / "pictures" / birds.classes[birds.labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        birds[int(index)].save(folder / f"{index}.png")
    (tmp_path / "new_pictures").mkdir()
    Image.new("RGB", (80, 60), "sienna").save(tmp_path / "new_pictures" / "one.jpg")
    (tmp_path / "phrases.txt").write_text("red crown\nbarred wing\nlong tail\nblack bill\n")
    monkeypatch.chdir(tmp_path)
    if any("runs/quickstart" in block for block in python_blocks(page)):
        small = ["--config.data.images_per_class=4", "--config.training.epochs=2"]
        main(["-q", "train", "--config=quickstart", "--workdir=runs/quickstart", *small])
    names: dict = {"__name__": "__main__"}
    for number, block in enumerate(python_blocks(page)):
        exec(compile(block, f"{page}, block {number}", "exec"), names)


def test_every_link_leads_to_a_file_of_the_checkout():
    """The pages of the site that are made from others are not there: on_build.py leads to them."""
    others = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")}
    for page, text in {**PAGES, **others}.items():
        for target in re.findall(
            r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)
        ):
            if not target.startswith(("http:", "https:")):
                there = (ROOT / page).parent / target
                assert there.exists(), f"{page} points to {target}"
