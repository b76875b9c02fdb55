"""Records of arrays beside a saved model, each a safetensors file of its own."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxcbm.errors import UserError

Record = TypeVar("Record")


def save_record(file: Path, record: Any) -> None:
    """Write a dataclass of arrays and numbers, each field by its name."""
    names = (field.name for field in dataclasses.fields(record))
    save_file({name: np.array(getattr(record, name), order="C") for name in names}, file)


def load_record(
    file: Path,
    kind: Callable[..., Record],
    shapes: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int],
) -> Record:
    """Read what `save_record` wrote; numbers come back as numbers.

    Args:
        file: to be read.
        kind: the dataclass.
        shapes: of each field, by names of sizes: ("K", "D"); "" is free, and a number has none.
        sizes: what those names are in the model that the record belongs to.

    Raises:
        UserError: the file is not whole, of another model, or of another version of jaxcbm.
    """
    try:
        tensors: Mapping[str, np.ndarray] = load_file(file)
        values = {name: tensors[name] for name in shapes}
        for name, array in values.items():
            wanted = tuple(
                sizes.get(size, found)
                for size, found in zip(shapes[name], array.shape, strict=False)
            )
            if array.shape != wanted or len(wanted) != len(shapes[name]):
                raise ValueError(f"{name} is of shape {list(array.shape)}")
            if not np.issubdtype(array.dtype, np.floating) or np.isinf(array).any():
                raise ValueError(f"{name} holds infinity, or no numbers")
            if 0 in array.shape:
                raise ValueError(f"{name} is empty")
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(
            f"{file}: not a whole record ({error}): delete it to go on without it, or train again"
        ) from error
    return kind(**{name: x.item() if x.ndim == 0 else x for name, x in values.items()})
