"""Notebooks: each runs whole in a kernel, as Colab would run it, and lies here as it is written."""

import json

import pytest
from colab import NOTEBOOKS, as_text, colab_address, main, repository, tidied

nbformat = pytest.importorskip("nbformat", reason="no nbformat: the extra `notebooks`")
FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
ADDRESS = "https://github.com/someone/jaxcbm"


def notebook(*sources: str):
    code = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Birds"), *code])


def run(notebook, folder, **options):
    """Execute all cells in an empty folder; one device, as a runtime of Colab has."""
    client = pytest.importorskip("nbclient", reason="no nbclient: the extra `notebooks`")
    resources = {"metadata": {"path": str(folder)}}
    client.NotebookClient(notebook, timeout=600, resources=resources, **options).execute()
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_cell_runs_and_nothing_is_red(file, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    outputs = run(nbformat.read(file, as_version=4), tmp_path)
    assert [out.text for out in outputs if out.get("name") == "stderr"] == []
    assert len(outputs) > 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_lies_here_as_it_is_written(file):
    """Its outputs stripped; its button and install cell for the repository's address of today."""
    text = file.read_text(encoding="utf-8")
    wanted = as_text(tidied(json.loads(text), file.name, repository()))
    assert text == wanted, "run `python docs/hooks/colab.py`"
    nbformat.validate(nbformat.reads(text, as_version=4))


@pytest.mark.parametrize("address", ["", ADDRESS, "https://example.org/jaxcbm"])
def test_the_address_decides_button_and_installation(address):
    written = tidied(notebook("1 + 1"), "birds.ipynb", address)
    opened, sources = (
        colab_address(address, "birds.ipynb"),
        ["".join(c["source"]) for c in written["cells"]],
    )
    assert bool(opened) == (address == ADDRESS)
    assert len(sources) == 3 + bool(opened) and sources[0] == "# Birds" and sources[-1] == "1 + 1"
    assert not opened or f"]({opened})" in sources[1]
    assert (f'"jaxcbm @ git+{address}"' if address else " ..") in sources[-2]
    # Written again, also for another address, it is the same but for these two.
    assert tidied(written, "birds.ipynb", address) == written
    assert tidied(tidied(written, "birds.ipynb", ADDRESS), "birds.ipynb", address) == written
    nbformat.validate(nbformat.from_dict(written))


def test_the_command_strips_what_jupyter_has_left(tmp_path, monkeypatch):
    saved = notebook("1 + 1")
    saved.cells[1].update(execution_count=7, metadata={"scrolled": True})
    saved.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    nbformat.write(saved, tmp_path / "birds.ipynb")
    monkeypatch.setattr("colab.NOTEBOOKS", tmp_path)
    main()
    *_, cell = json.loads((tmp_path / "birds.ipynb").read_text(encoding="utf-8"))["cells"]
    assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {})


def test_progress_is_one_bar_below_the_cell_and_not_red(tmp_path):
    cell = """\
from jaxcbm.data.progress import ProgressLine

line = ProgressLine("read <", "images", clock=iter([0.0, 0.5, 2.0, 3.0]).__next__)
for done in (0, 1, 2, 4):
    line(done, 4)
"""
    (shown,) = run(notebook(cell), tmp_path)
    assert shown.data["text/plain"] == "read <: 4 images in 3 s (1.33 images/s)"
    assert shown.data["text/html"].startswith('<div><progress value="1.000" max="1"')
    assert "read &lt;" in shown.data["text/html"]


@pytest.mark.slow
def test_loading_an_encoder_is_silent_without_ipywidgets(tmp_path):
    cell = """\
import sys

sys.modules["ipywidgets"] = None
import jaxcbm

_ = jaxcbm.load_encoder("jaxcbm/tiny")
"""
    assert run(notebook(cell), tmp_path) == []


def test_what_the_user_can_mend_is_said_in_one_line(tmp_path):
    cell = "from jaxcbm.errors import UserError\nraise UserError('no such folder: birds')"
    (shown,) = run(notebook(cell), tmp_path, allow_errors=True)
    assert shown.traceback == ["UserError: no such folder: birds"]
