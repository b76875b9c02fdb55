"""Files in the layout of torch.save, made without torch."""

import pickle
import zipfile
from pathlib import Path

import numpy as np

_STORAGE = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage"}


def op(value) -> bytes:
    """One value as pickle instructions, without the frame around them."""
    return pickle.dumps(value, protocol=2)[2:-1]


def tensor_ops(key: str, array: np.ndarray, shape=None, reader=b"_rebuild_tensor_v2") -> bytes:
    """One tensor as pickle instructions, its numbers in a file named `key`."""
    strides = tuple(s // array.itemsize for s in array.strides)
    kind = _STORAGE[array.dtype.name].encode()
    storage = b"(" + op("storage") + b"ctorch\n" + kind + b"\n" + op(key) + op("cpu")
    storage += op(array.size) + b"tQ"
    arguments = storage + op(0) + op(shape or array.shape) + op(strides) + b"\x89"
    return b"ctorch._utils\n" + reader + b"\n(" + arguments + b"ccollections\nOrderedDict\n)RtR"


def write_torch_zip(path: Path, tensors: dict, *, extra: bytes = b"", shape=None) -> None:
    """The layout of torch.save, made by hand: a pickle and one raw file for each storage."""
    content = b"\x80\x02}("
    with zipfile.ZipFile(path, "w") as archive:
        for i, (name, array) in enumerate(tensors.items()):
            content += op(name) + tensor_ops(str(i), np.array(array, order="C"), shape)
            archive.writestr(f"archive/data/{i}", array.tobytes())
        archive.writestr("archive/data.pkl", content + extra + b"u.")
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
