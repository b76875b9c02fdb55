"""Blocks whose activations are computed again on the way back instead of being kept."""

from typing import Any

import jax
from flax import nnx


class Rematerialised(nnx.Module):
    """A block of a tower that keeps its input and nothing else for the backward pass.

    Reference: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, arXiv 1604.06174.
    """

    def __init__(self, block: Any):
        self.block = block

    def __call__(self, x: jax.Array, *rest: Any, **options: Any) -> jax.Array:
        return jax.checkpoint(lambda x: self.block(x, *rest, **options))(x)


def rematerialise(module: nnx.Module) -> None:
    """Wrap, in place, every block of every tower; works for any family whose towers have `blocks`.

    Meant for the module that `merge_flat` puts together inside jit: parameters keep their paths.
    """
    # Which modules have blocks, their type does not say.
    towers: list[Any] = [inner for _, inner in nnx.iter_modules(module) if hasattr(inner, "blocks")]
    for tower in towers:
        tower.blocks = nnx.List([Rematerialised(block) for block in tower.blocks])
