import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import _gather, fetch, place, place_rows, replicate


@pytest.mark.parametrize("count", [0, 1, 7, 8, 11])
@pytest.mark.parametrize("shape", [(8, 1), (2, 4), (1, 8)])
def test_rows_come_back_padded_with_zeros(count, shape):
    rows = np.random.default_rng(0).standard_normal((count, 3), np.float32)
    placed = place_rows(rows, make_mesh(*shape))
    assert placed.shape[0] == -(-count // shape[0]) * shape[0]
    assert placed.sharding.spec == PartitionSpec("data")
    np.testing.assert_array_equal(fetch(placed)[:count], rows)
    assert not fetch(placed)[count:].any()


def test_a_memory_map_is_read_in_parts(tmp_path):
    np.save(tmp_path / "rows.npy", np.arange(22, dtype=np.int32).reshape(11, 2))
    read = []

    class Watched(np.ndarray):
        def __getitem__(self, index):
            read.append(index)
            return np.asarray(super().__getitem__(index))

    rows = np.load(tmp_path / "rows.npy", mmap_mode="r").view(Watched)
    placed = place_rows(rows, make_mesh(4, 2))
    assert {(part.start, part.stop) for part in read} == {(0, 3), (3, 6), (6, 9), (9, 12)}
    np.testing.assert_array_equal(fetch(placed)[:11].ravel(), np.arange(22))


def test_trees_keys_and_prefixes_of_shardings():
    mesh = make_mesh(2, 4)
    split = NamedSharding(mesh, PartitionSpec(None, "model"))
    tree = {"a": (np.ones((2, 4), np.float32), jnp.zeros((3, 8))), "b": None}
    placed = place(tree, {"a": split, "b": None})
    assert all(leaf.sharding == split for leaf in placed["a"]) and placed["b"] is None
    key = replicate(jax.random.key(3), mesh)
    assert key.is_fully_replicated and len(key.devices()) == 8
    np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(3)))


def test_a_large_array_is_gathered_in_parts(monkeypatch):
    monkeypatch.setattr("jaxcbm.distributed.placement._BYTES_AT_ONCE", 100)
    mesh = make_mesh(2, 4)
    array = np.random.default_rng(0).standard_normal((11, 8), np.float32)
    placed = jax.device_put(array, NamedSharding(mesh, PartitionSpec(None, "model")))
    np.testing.assert_array_equal(_gather(placed), array)
