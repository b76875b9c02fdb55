"""The train state on a mesh: where each leaf lives, and how it is first made there."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcbm.bottleneck.model import Params
from jaxcbm.distributed.mesh import shardings_for
from jaxcbm.distributed.placement import place
from jaxcbm.training.step import Plan, TrainState, init_state


def state_shardings(plan: Plan, params: Params, mesh: Mesh) -> TrainState:
    """Where each leaf of the state lives; an optimizer's moments lie where their parameter does."""
    placed = shardings_for(params, mesh)
    replicated = NamedSharding(mesh, PartitionSpec())

    def of_leaf(path, leaf):
        names = [part.key for part in path if isinstance(part, jax.tree_util.DictKey)]
        owner = next((name for name in reversed(names) if name in params), None)
        if owner is None or leaf.shape != params[owner].shape:
            return replicated
        return placed[owner]

    shapes = jax.eval_shape(functools.partial(init_state, plan), params)
    return jax.tree_util.tree_map_with_path(of_leaf, shapes)


def place_state(plan: Plan, params: Params, shardings: TrainState) -> TrainState:
    """The state before the first step, each leaf made where it lives.

    The parameters are copied: steps overwrite the state, and data may share their memory.
    """

    def fresh(params: Params) -> TrainState:
        return init_state(plan, jax.tree.map(jnp.copy, params))

    return jax.jit(fresh, out_shardings=shardings)(place(params, shardings.params))


def abstract_state(plan: Plan, params: Params, shardings: TrainState) -> TrainState:
    """Shapes and shardings of what `place_state` makes, from abstract parameters."""
    shapes = jax.eval_shape(functools.partial(init_state, plan), params)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )
