"""The notebook's cells, run one after the other as Colab would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"


def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_is_a_valid_notebook():
    nbformat = pytest.importorskip("nbformat", reason="no nbformat: the extra `launch`")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_outputs_are_stripped():
    for cell in cells():
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.slow
def test_every_cell_runs(tmp_path):
    code = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    magic = [cell for cell in code if cell.startswith("%")]
    assert magic == ["%pip install --quiet jaxcbm"]
    script = tmp_path / "cells.py"
    script.write_text("\n".join(cell for cell in code if cell not in magic), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        # One device, as a runtime of Colab has.
        env={**os.environ, "JAXCBM_QUICK": "1", "JAX_NUM_CPU_DEVICES": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    accuracy = float(next(s for s in said if s.startswith("test accuracy")).split()[2].rstrip("%,"))
    assert accuracy > 10, "48 species: chance is 2 %"
    assert (tmp_path / "birds_model" / "model.json").exists()
