"""A saved model that is not as it was written is refused by the name of the file, in one line."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from damage import DAMAGES, restore, swap_value, tries

from jaxcbm.errors import UserError
from jaxcbm.model.model import load_model

FILES = (
    *("model.json", "model.safetensors", "sparse_path.safetensors"),
    *("calibration.safetensors", "familiarity.safetensors"),
)


def test_every_damage_is_refused(trained, tmp_path):
    """JAXCBM_FAULTS=600 makes as many tries as the first attack did."""
    assert set(FILES) <= {file.name for file in (trained / "model").iterdir()}
    for seed in range(tries(60)):
        rng = np.random.default_rng(seed)
        restore(tmp_path / "model", trained / "model")
        file = tmp_path / "model" / FILES[rng.integers(len(FILES))]
        how = (*DAMAGES, swap_value) if file.suffix == ".json" else DAMAGES
        damage = how[rng.integers(len(how))]
        damage(file, rng)
        with pytest.raises(UserError) as told:
            load_model(tmp_path / "model")
        words = str(told.value)
        assert "\n" not in words, (seed, words)
        assert file.name in words or "no finished model" in words, (seed, damage, words)


def test_what_was_put_beside_a_model_is_no_part_of_it(trained, tmp_path):
    model = load_model(trained)
    replace(model, calibration=None).save(tmp_path / "model")
    shutil.copy(trained / "model" / "calibration.safetensors", tmp_path / "model")
    assert load_model(tmp_path / "model").calibration is None


def test_a_header_without_hashes_is_of_another_version(tmp_path):
    (tmp_path / "model.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match="another version"):
        load_model(tmp_path)
