"""What the README shows in Python runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.slow
def test_every_python_block_runs_in_an_empty_folder(tmp_path):
    assert blocks(), "the README shows no Python"
    for number, block in enumerate(blocks()):
        script = tmp_path / f"block_{number}.py"
        script.write_text(block, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error", str(script)],
            cwd=tmp_path,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "Model of 48 classes" in done.stdout
    assert (tmp_path / "birds_model" / "model.json").exists()
