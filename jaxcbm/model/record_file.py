"""Records of arrays beside a saved model, each a safetensors file of its own."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxcbm.errors import UserError

Record = TypeVar("Record")


def save_record(file: Path, record: Any) -> None:
    """Write a NamedTuple of arrays and numbers, each field by its name."""
    fields = {name: np.array(value, order="C") for name, value in record._asdict().items()}
    save_file(fields, file)


def load_record(file: Path, kind: Callable[..., Record]) -> Record:
    """Read what `save_record` wrote; numbers come back as numbers.

    Raises:
        UserError: the file is not whole, or of another version of jaxcbm.
    """
    try:
        tensors: Mapping[str, np.ndarray] = load_file(file)
        values = {name: tensors[name] for name in inspect.signature(kind).parameters}
    except (SafetensorError, KeyError) as error:
        raise UserError(
            f"{file}: not a whole record ({error}): delete it to go on without it, or train again"
        ) from error
    return kind(**{name: x.item() if x.ndim == 0 else x for name, x in values.items()})
