"""Checkpoints that cannot be read: told by one line, whatever the reason."""

import gc
import logging
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.training.checkpoints import Checkpoints

TREE = {f"array {number}": jnp.full((9, 9), float(number)) for number in range(12)}


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints."""
    with Checkpoints(tmp_path / "kept") as kept:
        kept.save(1, TREE, {"step": 1})
        kept.save(2, TREE, {"step": 2})
    return tmp_path / "kept"


def test_one_that_memory_does_not_hold_is_not_damaged(folder, monkeypatch):
    def load(*_):
        raise MemoryError

    with Checkpoints(folder) as kept, monkeypatch.context() as short:
        short.setattr(kept, "_load", load)
        with pytest.raises(MemoryError):
            kept.restore(TREE, lambda said: None)
    with Checkpoints(folder) as kept:
        assert kept.latest_step == 2


# TensorStore's threads find the closed loop of a reading that failed whenever they get to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_else_could_not_be_read_of_it_says_nothing(folder, caplog):
    """And asyncio's logger says what it has to say of others, as before."""
    shutil.rmtree(folder / "2" / "state" / "d")
    with Checkpoints(folder) as kept:
        found = kept.restore(TREE, lambda said: None)
    assert found is not None and found[1] == {"step": 1}
    np.testing.assert_array_equal(found[0]["array 3"], TREE["array 3"])
    gc.collect()
    for whose in ("/orbax/checkpoint/_src/a.py", "[tensorstore_spec='{}']", "of somebody else"):
        logging.getLogger("asyncio").error("Task exception was never retrieved\n%s", whose)
    said = [record for record in caplog.records if record.name == "asyncio"]
    assert [record.getMessage()[-13:] for record in said] == ["somebody else"]
    assert logging.getLogger("asyncio").level == logging.NOTSET
