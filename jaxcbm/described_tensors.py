"""Arrays in a safetensors file, with a JSON object about them, and a hash of both.

The same content is the same bytes: the order in which safetensors itself writes several remarks
differs from process to process, so all that is said is one of them.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxcbm.atomic import atomic_file
from jaxcbm.sealed_json import sealed, unsealed

_KEY = "sealed"


def save_described(
    file: Path | str, tensors: Mapping[str, np.ndarray], said: Mapping[str, Any]
) -> None:
    """Write arrays and what is said of them, atomically.

    Raises:
        UserError: as for `jaxcbm.atomic.atomic_file`.
    """
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    about = sealed({"said": said, "tensors": _hash(arrays)})
    with atomic_file(file) as temporary:
        save_file(arrays, temporary, {_KEY: json.dumps(about)})


def load_described(file: Path | str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is said, and the arrays, as `save_described` was given them.

    Raises:
        OSError: no such file, or it cannot be read.
        ValueError: it is damaged, or some other file.
    """
    try:
        with safe_open(file, "numpy") as stored:
            about = unsealed(json.loads((stored.metadata() or {})[_KEY]))
            names = stored.keys()  # not a dict: it has no __iter__
            tensors = {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from error
    if about["tensors"] != _hash(tensors):
        raise ValueError("its arrays are not what was written")
    return about["said"], tensors


def _hash(tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}\n".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()
