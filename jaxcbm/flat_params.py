"""Modules as a static graph and a flat dict of arrays: what jit, optax and checkpoints want.

A parameter's dotted path is its name everywhere: in weight tables, sharding rules, freezing rules
and files.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx


def split_flat(module: nnx.Module) -> tuple[nnx.GraphDef, dict[str, Any]]:
    """Take a module apart: the static graph, and its variables, all parameters, by dotted path.

    >>> graph, params = split_flat(nnx.LayerNorm(2, rngs=nnx.Rngs(0)))
    >>> sorted(params)
    ['bias', 'scale']
    >>> type(merge_flat(graph, params)).__name__
    'LayerNorm'
    """
    graph, state = nnx.split(module)
    return graph, {
        ".".join(map(str, path)): variable.get_value()
        for path, variable in nnx.to_flat_state(state)
    }


def merge_flat(graph: nnx.GraphDef, params: Mapping[str, Any]) -> Any:
    """Put a module together again; inside jit this costs nothing at run time."""
    paths = (tuple(int(p) if p.isdigit() else p for p in name.split(".")) for name in params)
    return nnx.merge(graph, nnx.from_flat_state(list(zip(paths, params.values(), strict=True))))


def abstract(make: Callable[[], nnx.Module]) -> tuple[nnx.GraphDef, dict[str, Any]]:
    """Static graph and shapes by dotted path of what `make` builds, without making a single array.

    >>> graph, shapes = abstract(lambda: nnx.LayerNorm(2, rngs=nnx.Rngs(0)))
    >>> shapes["scale"].shape
    (2,)
    """
    return split_flat(nnx.eval_shape(make))
