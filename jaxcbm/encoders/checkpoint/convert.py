"""Between a checkpoint's tensor names and ours: one table a family, one loop for all.

A row holds both names as templates, where `{}` stands for a layer's number, and the change of
layout in both directions; so the same table reads and writes. Reading is strict both ways: every
tensor of the file must have a place, and every place must be filled with the right shape.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.errors import UserError


class Layout(NamedTuple):
    """How an array changes on its way in and on its way out.

    Attributes:
        to_ours: from the checkpoint's layout to ours.
        to_theirs: the inverse.
    """

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


class TensorRule(NamedTuple):
    """One tensor, or one for each layer.

    Attributes:
        theirs: its name in the checkpoint, with `{}` for the number of a layer.
        ours: the parameter's path, with as many `{}`.
        layout: what lies between them.
    """

    theirs: str
    ours: str
    layout: Layout


SAME = Layout(lambda x: x, lambda x: x)
TRANSPOSED = Layout(np.transpose, np.transpose)


def _patch_to_ours(w_CxKxPxP: np.ndarray) -> np.ndarray:
    return w_CxKxPxP.transpose(2, 3, 1, 0).reshape(-1, w_CxKxPxP.shape[0])


def _patch_to_theirs(w_FxC: np.ndarray) -> np.ndarray:
    patch = round((w_FxC.shape[0] / 3) ** 0.5)
    return w_FxC.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)


# A convolution whose stride is its width, as a plain matrix over flattened patches of 3 colours.
PATCH = Layout(_patch_to_ours, _patch_to_theirs)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))


def to_ours(
    tensors: Iterable[tuple[str, np.ndarray]],
    shapes: Mapping[str, Any],
    rows: Sequence[TensorRule],
    *,
    ignored: Sequence[str] = (),
    where: str,
) -> dict[str, np.ndarray]:
    """Fill every parameter of a model from a checkpoint.

    Args:
        tensors: the checkpoint's names and arrays, of any float type.
        shapes: for each of our parameters something with a `.shape`.
        rows: the family's table.
        ignored: regular expressions of names that carry no weight and may be dropped.
        where: what to call the checkpoint in a message.

    Returns:
        float32 arrays by our name, in the order of `shapes`.

    Raises:
        UserError: one line with every tensor that is missing, unknown, or has the wrong shape, or
            with those that hold inf or NaN.

    >>> rows = [TensorRule("h.{}.weight", "blocks.{}.kernel", TRANSPOSED)]
    >>> shapes = {"blocks.0.kernel": np.zeros((3, 2))}
    >>> to_ours([("h.0.weight", np.ones((2, 3)))], shapes, rows, where="x")["blocks.0.kernel"].shape
    (3, 2)
    """
    found: dict[str, np.ndarray] = {}
    unknown: list[str] = []
    misshaped: list[str] = []
    infinite: list[str] = []
    for name, tensor in tensors:
        if any(re.fullmatch(pattern, name) for pattern in ignored):
            continue
        ours, layout = _to_our_name(name, rows)
        if ours is None or layout is None or ours not in shapes or ours in found:
            unknown.append(name)
            continue
        want = tuple(shapes[ours].shape)
        try:
            array = layout.to_ours(tensor)
        except ValueError:  # a transpose of the wrong rank
            array = None
        if array is None or array.shape != want:
            # Of no size in memory: config.json may have asked for more than there is.
            expected = layout.to_theirs(np.broadcast_to(False, want)).shape
            misshaped.append(f"{name} {list(tensor.shape)} instead of {list(expected)}")
        # Not zero-size or integer: a parameter is a float, in whichever precision it was stored.
        elif not np.issubdtype(array.dtype, np.floating) and array.dtype.name != "bfloat16":
            misshaped.append(f"{name} of type {array.dtype} instead of a float")
        else:
            with np.errstate(over="ignore"):  # float64 that float32 cannot hold
                found[ours] = np.asarray(array, np.float32, order="C")
            # Both ends hand NaN on, and no mask as large as the tensor is made.
            if found[ours].size and not np.isfinite([found[ours].min(), found[ours].max()]).all():
                infinite.append(name)
            continue
        found[ours] = np.empty(0)  # reported once, as mis-shaped and not as missing as well
    if infinite:
        raise UserError(
            f"{where}: the weights hold inf or NaN ({len(infinite)} tensors: "
            f"{', '.join(infinite[:5])}); download them again"
        )
    missing = [_to_their_name(name, rows)[0] for name in shapes if name not in found]
    problems = [
        f"{len(names)} {kind}: {', '.join(names)}"
        for kind, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("mis-shaped", misshaped),
        )
        if names
    ]
    if problems:
        raise UserError(
            f"{where}: the weights do not fit config.json ({'; '.join(problems)}); "
            "use the config.json these weights came with, or download both again"
        )
    return {name: found[name] for name in shapes}


def to_theirs(
    params: Mapping[str, Any], rows: Sequence[TensorRule]
) -> Iterator[tuple[str, np.ndarray]]:
    """The inverse of `to_ours`: names and arrays as the checkpoint's family writes them."""
    for name, array in params.items():
        theirs, layout = _to_their_name(name, rows)
        yield theirs, layout.to_theirs(np.asarray(array))


def _to_our_name(name: str, rows: Sequence[TensorRule]) -> tuple[str | None, Layout | None]:
    for row in rows:
        if match := _pattern(row.theirs).fullmatch(name):
            return row.ours.format(*match.groups()), row.layout
    return None, None


def _to_their_name(name: str, rows: Sequence[TensorRule]) -> tuple[str, Layout]:
    for row in rows:
        if match := _pattern(row.ours).fullmatch(name):
            return row.theirs.format(*match.groups()), row.layout
    raise KeyError(f"no row of the weight table holds parameter {name!r}")
