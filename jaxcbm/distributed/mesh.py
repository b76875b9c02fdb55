"""The device mesh of two named axes, `data` and `model`, and placement by parameter path."""

import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcbm.errors import UserError

# Parameter path -> how its axes lie on the mesh; the first row that matches wins, none replicates.
# W [D, D] and the head [D, K] are split over the concepts they produce or read.
BOTTLENECK_RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"cbl\.kernel$", PartitionSpec(None, "model")),
    (r"head\.kernel$", PartitionSpec("model", None)),
)


def make_mesh(data: int = -1, model: int = 1, devices: Sequence | None = None) -> Mesh:
    """Arrange devices in a `data` x `model` mesh.

    Args:
        data: devices along the batch; -1 takes all that `model` leaves.
        model: devices along the concepts.
        devices: the devices to use; all of them by default.

    Returns:
        A mesh with automatic sharding propagation on both axes.

    Raises:
        UserError: the devices cannot be divided that way.

    >>> make_mesh(data=1, devices=jax.devices()[:1]).axis_names
    ('data', 'model')
    """
    devices = list(jax.devices() if devices is None else devices)
    if data == -1 and model >= 1:
        data = max(len(devices) // model, 1)
    if data * model > len(devices) or data < 1 or model < 1:
        raise UserError(
            f"a mesh of data={data} x model={model} needs {data * model} devices, "
            f"this process sees {len(devices)}: lower config.mesh.data or config.mesh.model"
        )
    return jax.make_mesh(
        (data, model),
        ("data", "model"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices[: data * model],
    )


def fit_spec(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Drop from a spec every axis that does not divide its dimension evenly.

    >>> mesh = make_mesh(data=1, devices=jax.devices()[:1])
    >>> tuple(fit_spec(PartitionSpec(None, "model"), (3, 5), mesh))
    (None, 'model')
    """
    axes = tuple(spec) + (None,) * (len(shape) - len(spec))
    return PartitionSpec(
        *(
            axis if axis is None or size % mesh.shape[axis] == 0 else None
            for axis, size in zip(axes, shape, strict=True)
        )
    )


def shardings_for(
    params: Mapping[str, jax.Array | jax.ShapeDtypeStruct],
    mesh: Mesh,
    rules: Sequence[tuple[str, PartitionSpec]] = BOTTLENECK_RULES,
) -> dict[str, NamedSharding]:
    """Placement of a flat dict of parameters by the first rule whose pattern its path matches.

    >>> mesh = make_mesh(data=1, devices=jax.devices()[:1])
    >>> shapes = {"head.kernel": jax.ShapeDtypeStruct((4, 2), "float32")}
    >>> tuple(shardings_for(shapes, mesh)["head.kernel"].spec)
    ('model', None)
    """
    placed = {}
    for path, value in params.items():
        spec = next((spec for pattern, spec in rules if re.search(pattern, path)), PartitionSpec())
        placed[path] = NamedSharding(mesh, fit_spec(spec, value.shape, mesh))
    return placed


def pad_rows(array: np.ndarray, multiple: int) -> np.ndarray:
    """Append zero rows until the number of rows divides by `multiple`.

    >>> pad_rows(np.ones((3, 2)), 2).shape
    (4, 2)
    """
    missing = -len(array) % multiple
    return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array


def place_rows(array: np.ndarray, mesh: Mesh) -> jax.Array:
    """Put rows on the mesh, split over `data`, padded with zero rows to divide evenly."""
    padded = pad_rows(array, mesh.shape["data"])
    return jax.device_put(padded, NamedSharding(mesh, PartitionSpec("data")))


def replicate(tree, mesh: Mesh):
    """Put every array of a pytree whole on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
