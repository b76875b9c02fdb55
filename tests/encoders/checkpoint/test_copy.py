"""A copied checkpoint is the same encoder, whatever its files looked like."""

import pytest
from contract_cases import CASES

from jaxcbm.encoders.checkpoint.copy import copy_encoder
from jaxcbm.encoders.load import load_encoder

# One of every kind of file, and torch's own zip file, which a copy must not contain.
NAMES = [*{(case.kind, case.weights): name for name, case in CASES.items()}.values()]


@pytest.mark.parametrize("name", NAMES)
def test_the_copy_loads_to_the_same_content(name, tmp_path):
    folder = CASES[name].write(tmp_path / "original", tmp_path)
    (folder / "notes.txt").write_text("not the encoder's")
    copy_encoder(folder, tmp_path / "copy")
    assert load_encoder(tmp_path / "copy").content_hash == load_encoder(folder).content_hash
    kinds = {path.suffix for path in (tmp_path / "copy").iterdir()}
    assert ".bin" not in kinds and not (tmp_path / "copy" / "notes.txt").exists()
