"""Records of arrays beside a saved model, each a safetensors file of its own."""

import dataclasses
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
    """Write a dataclass of arrays and numbers, each field by its name."""
    names = (field.name for field in dataclasses.fields(record))
    save_file({name: np.array(getattr(record, name), order="C") for name in names}, file)


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
