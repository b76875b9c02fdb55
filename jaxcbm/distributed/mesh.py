"""The device mesh of two named axes, `data` and `model`, and placement by parameter path."""

import re
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxcbm.distributed.processes import is_distributed
from jaxcbm.distributed.rules import ALL_RULES
from jaxcbm.errors import UserError


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


def local_mesh() -> Mesh | None:
    """All devices of this process along `data`, or None where that gains nothing.

    Simulated devices share the cores of one; in a run of several processes they are used all the
    same, as a rehearsal.
    """
    devices = jax.local_devices()
    if len(devices) == 1 or not (is_distributed() or devices[0].platform != "cpu"):
        return None
    return make_mesh(devices=devices)


def fit_spec(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Drop from a spec every axis that does not divide its dimension evenly.

    370 concepts over 4 devices stay whole on each: correct, but nothing is saved. Where they do
    not fit whole, drop or add a few concepts so that the axis divides them.

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
    rules: Sequence[tuple[str, PartitionSpec]] = ALL_RULES,
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
