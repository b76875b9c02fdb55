"""The tables of docs/security.md: what a user sees now where something once went wrong."""

import ast
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from command_line import ROOT
from told import CHANGED, FOUND, TRAIN, Case, Scene

from jaxcbm.cli import main

PAGE = ROOT / "docs" / "security.md"
CASES = (*FOUND, *CHANGED)


@pytest.fixture(scope="module")
def finished(picture_folder, tiny_encoder_folder, tmp_path_factory):
    """A finished run and all that it reads."""
    place = tmp_path_factory.mktemp("finished")
    shutil.copytree(picture_folder, place / "pictures")
    shutil.copytree(tiny_encoder_folder, place / "encoder")
    (place / "phrases.txt").write_text("an amber glow\na blue tint\na coral hue\na tail")
    before = Path.cwd()
    os.chdir(place)
    try:
        assert main(["--quiet", *TRAIN]) == 0
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def scene(finished, tmp_path, monkeypatch, capsys, caplog):
    here = shutil.copytree(finished, tmp_path / "here")
    monkeypatch.chdir(here)

    def plain(text: str) -> str:
        text = text.replace(f"{here}/", "").replace(str(here), ".")
        text = text.replace(socket.gethostname(), "HOST").replace(str(os.getpid()), "PID")
        text = re.sub(r"since [\d-]+[T ][\d:+]+\d", "since TIME", text)
        return re.sub(r"\b(?=[0-9]*[a-f])[0-9a-f]{12,64}\b", "HASH", text).strip()

    def command(*words: str) -> str:
        capsys.readouterr()
        caplog.clear()
        code = main(list(words))
        error = capsys.readouterr().err
        assert code in (0, 2) and "Traceback" not in error, error
        if code == 2:
            last = error.strip().splitlines()[-1]
            return plain(re.sub(r"^(jaxcbm[\w ]*: )error: ", "", last))
        ours = [r for r in caplog.records if "/jaxcbm/" in r.pathname]
        warned = [r.getMessage() for r in ours if r.levelname == "WARNING"]
        return plain(warned[0]) if warned else ""

    def python(call) -> str:
        try:
            return plain(repr(call()))
        except ValueError as error:
            return plain(str(error))
        except Exception as error:
            assert type(error).__name__ == "UserError", error
            return plain(str(error))

    return Scene(here, command, python)


def row(case: Case, said: str) -> str:
    shown = said.replace("|", "\\|").replace("`", "'")
    return f"| {case.what} | `{shown}` |"


# What Orbax leaves of a reading that failed is collected whenever Python gets to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_a_user_sees_what_the_page_says(case, scene):
    """JAXCBM_FAULTS_RECORD=1 writes the rows anew."""
    said = case.now(scene)
    assert said and len(said.splitlines()) == 1, said
    wanted = row(case, said)
    if "JAXCBM_FAULTS_RECORD" in os.environ:
        lines = PAGE.read_text().splitlines()
        lines = [wanted if line.startswith(f"| {case.what} |") else line for line in lines]
        PAGE.write_text("\n".join(lines) + "\n")
    assert wanted in PAGE.read_text().splitlines(), f"JAXCBM_FAULTS_RECORD=1 writes: {wanted}"


def test_the_page_has_a_row_for_each_case():
    lines = PAGE.read_text().splitlines()
    for case in CASES:
        assert sum(line.startswith(f"| {case.what} | `") for line in lines) == 1, case.what


def test_every_test_that_the_page_names_exists():
    text = PAGE.read_text()
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`", text)
    assert len(named) > 10
    for path, test in named:
        assert (ROOT / path).exists(), path
        if test:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert test in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
