import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxcbm.distributed.mesh import fit_spec, make_mesh, shardings_for
from jaxcbm.distributed.placement import place_rows
from jaxcbm.errors import UserError


def test_the_mesh_takes_all_devices_that_the_model_axis_leaves():
    mesh = make_mesh(model=2)
    assert dict(mesh.shape) == {"data": jax.device_count() // 2, "model": 2}


@pytest.mark.parametrize("data,model", [(64, 1), (0, 1), (1, 0), (3, 5)])
def test_an_impossible_mesh_is_a_users_error(data, model):
    with pytest.raises(UserError):
        make_mesh(data, model)


def test_kernels_split_over_concepts_and_what_does_not_divide_stays_whole():
    mesh = make_mesh(model=2)
    shapes = {
        "cbl.kernel": jax.ShapeDtypeStruct((6, 6), "float32"),
        "head.kernel": jax.ShapeDtypeStruct((5, 3), "float32"),
        "head.bias": jax.ShapeDtypeStruct((3,), "float32"),
    }
    placed = {path: sharding.spec for path, sharding in shardings_for(shapes, mesh).items()}
    assert placed["cbl.kernel"] == PartitionSpec(None, "model")
    assert placed["head.kernel"] == PartitionSpec(None, None)
    assert placed["head.bias"] == PartitionSpec(None)
    assert fit_spec(PartitionSpec("data"), (7, 2), mesh) == PartitionSpec(None, None)


def test_rows_are_padded_with_zeros_to_the_data_axis():
    placed = place_rows(np.ones((11, 3), np.float32), make_mesh())
    assert placed.shape == (16, 3)
    np.testing.assert_array_equal(placed[11:], 0.0)
