"""From host arrays to arrays on a mesh, and back, with one process or several.

In several processes every process holds, or memory-maps, the whole host array and reads of it only
what its own devices keep. Nothing is compared or sent between processes on the way to the mesh.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.distributed.parts import padded, place_part

# What `fetch` gathers at once of an array that lies on several processes.
_BYTES_AT_ONCE = 2**28


def place_rows(array: np.ndarray, mesh: Mesh) -> jax.Array:
    """Put rows on the mesh, split over `data`, padded with zero rows to divide evenly.

    Args:
        array: [N, ...], the same in every process; a memory map is read only where it is needed.
        mesh: with an axis `data`.

    Returns:
        [N rounded up to a multiple of the axis, ...].

    >>> mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])
    >>> place_rows(np.ones((3, 2), np.float32), mesh).shape
    (3, 2)
    """
    return place_part(array, 0, array.shape[0], mesh)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Put every array of a pytree whole on every device of the mesh."""
    return place(tree, NamedSharding(mesh, PartitionSpec()))


def place(tree: Any, shardings: Any) -> Any:
    """Put the arrays of a pytree where shardings say.

    Args:
        tree: host arrays or device arrays, the same values in every process; typed keys too.
        shardings: one for all, or a pytree of them that is a prefix of `tree`.

    Returns:
        The tree with arrays on the shardings' devices. They may share memory with those of `tree`.
    """

    def subtree(sharding: NamedSharding, part: Any) -> Any:
        return jax.tree.map(lambda leaf: _place(leaf, sharding), part)

    return jax.tree.map(subtree, shardings, tree)


def spread(array: jax.Array, *axes: str | None) -> jax.Array:
    """Within a program: ask that an array lies over these axes of the mesh, where there is one."""
    if jax.sharding.get_abstract_mesh().empty:
        return array
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*axes))


def abstract_rows(array: Any, mesh: Mesh) -> jax.ShapeDtypeStruct:
    """Shape, type and sharding of what `place_rows` makes of an array of this shape.

    >>> mesh = jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])
    >>> abstract_rows(jax.ShapeDtypeStruct((3, 2), "float32"), mesh).shape
    (3, 2)
    """
    shape = padded(array.shape[0], mesh), *array.shape[1:]
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.ShapeDtypeStruct(shape, array.dtype, sharding=sharding)


def abstract_place(tree: Any, shardings: Any) -> Any:
    """Shapes, types and shardings of what `place` makes of a pytree of these shapes."""

    def subtree(sharding: NamedSharding, part: Any) -> Any:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), part
        )

    return jax.tree.map(subtree, shardings, tree)


def fetch(tree: Any) -> Any:
    """The arrays of a pytree as numpy arrays on every process.

    Every process must call it, with the same tree: what lies on other processes is gathered, a
    part at a time, so that no device has to hold a large array whole.

    >>> fetch({"a": jax.numpy.arange(3)})["a"].tolist()
    [0, 1, 2]
    """
    whole = jax.tree.map(lambda leaf: leaf if _is_readable(leaf) else _gather(leaf), tree)
    return jax.tree.map(np.asarray, jax.device_get(whole))


def _place(leaf: Any, sharding: NamedSharding) -> jax.Array:
    on_mesh = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    if sharding.is_fully_addressable or on_mesh:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _place(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    # `device_put` would first compare the array's values between all processes.
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _is_readable(leaf: Any) -> bool:
    if not isinstance(leaf, jax.Array):
        return True
    return leaf.is_fully_addressable or leaf.is_fully_replicated


def _gather(array: jax.Array) -> np.ndarray:
    """The whole of an array that several processes hold."""
    mesh = array.sharding.mesh  # pyright: ignore[reportAttributeAccessIssue]
    cut = jax.jit(
        jax.lax.dynamic_slice_in_dim,
        static_argnums=(2,),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
    if array.nbytes <= _BYTES_AT_ONCE:
        return np.asarray(cut(array, np.int32(0), array.shape[0]))
    result = np.empty(array.shape, array.dtype)
    step = max(array.shape[0] * _BYTES_AT_ONCE // array.nbytes, 1)
    for first in range(0, array.shape[0], step):
        # The last part begins earlier instead of being a shorter one, which is another program.
        first = min(first, array.shape[0] - step)
        result[first : first + step] = cut(array, np.int32(first), step)
    return result
