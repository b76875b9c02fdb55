"""Tensors out of torch's zip files without torch, and without running what a file asks for.

A `.bin` checkpoint is a zip with a pickle of the structure and one raw file for each storage. A
pickle can call any function it names; this reader knows five names, all of them ours, and refuses
the file at the first other one.
"""

import collections
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jaxcbm.errors import UserError

# torch packs nothing; others may, but weights hardly shrink.
_MOST_UNPACKED = 20
_STORAGES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype


class _Tensor(NamedTuple):
    """A tensor not yet read: a view into a storage, counted in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _STORAGES.items()},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"unknown storage {pid!r}")
        return _Storage(str(key), dtype)


def read_torch_zip(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a file that `torch.save` wrote from a state dict.

    Args:
        path: a zip file (torch 1.6 and later).

    Returns:
        Arrays by name, in the precision they were stored in.

    Raises:
        UserError: the file is of the older format, damaged, or asks for anything but tensors.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path}: damaged, or in torch's format from before version 1.6, which is not read; "
            "download it again or take the checkpoint's safetensors file"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except Exception as error:  # a pickle that is not as it should be fails in any way
        raise UserError(
            f"{path}: refused, since it is not a plain table of tensors ({error}); "
            "take the checkpoint's safetensors file"
        ) from error


def _read(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    packed, whole = (
        sum(getattr(entry, size) for entry in archive.infolist())
        for size in ("compress_size", "file_size")
    )
    if whole > _MOST_UNPACKED * packed:
        raise ValueError(f"unpacked it would be {whole / max(packed, 1):.0f} times larger")
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ValueError("it holds no single data.pkl")
    root = names[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    with archive.open(names[0]) as file:
        content = _Unpickler(file).load()
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise ValueError("its content is no table")
    storages: dict[_Storage, np.ndarray] = {}
    tensors: dict[str, np.ndarray] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"entry {name!r} is no tensor")
        if tensor.storage not in storages:
            raw = archive.read(f"{root}data/{tensor.storage.key}")
            storages[tensor.storage] = np.frombuffer(raw, tensor.storage.dtype)
        tensors[name] = _view(storages[tensor.storage], tensor)
    return tensors


def _view(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    # The file says where to read, so what it says is checked before memory is touched.
    if (
        len(tensor.shape) != len(tensor.strides)
        or min((tensor.offset, *tensor.shape, *tensor.strides)) < 0
    ):
        raise ValueError("a tensor with a negative size")
    if math.prod(tensor.shape) == 0:
        return np.empty(tensor.shape, storage.dtype)
    # One number that is repeated a billion times takes no room in the file.
    if math.prod(tensor.shape) > storage.size:
        raise ValueError("a tensor larger than its storage")
    reach = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset + reach >= storage.size:
        raise ValueError("a tensor reaches past its storage")
    strides = tuple(step * storage.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, strides, writeable=False
    )
    return np.array(view)
