"""The tensors of a checkpoint folder, whichever of the formats in the wild holds them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization
from safetensors import SafetensorError, safe_open

from jaxcbm.encoders.checkpoint.restricted_pickle import read_torch_zip
from jaxcbm.encoders.json_file import field, read_json
from jaxcbm.errors import UserError
from jaxcbm.ordinary_file import is_ordinary

Tensors = Iterator[tuple[str, np.ndarray]]


# What Hugging Face's repositories call their weights, best first.
HUGGING_FACE_WEIGHTS = ("model.safetensors", "flax_model.msgpack", "pytorch_model.bin")


def read_tensors(folder: Path, names: Sequence[str] = HUGGING_FACE_WEIGHTS) -> Tensors:
    """Read a checkpoint tensor by tensor, in the precision it was stored in.

    The first of the files that is there, each of them whole, or in shards with an index.

    Args:
        folder: a checkpoint's folder.
        names: files to look for, of safetensors, flax's msgpack, or torch's zip files.

    Yields:
        Name and array, in torch's naming and layout whatever the format.

    Raises:
        UserError: there are no weights, a shard is missing, or a file is damaged.
    """
    for name in names:
        read = _FORMATS[Path(name).suffix]
        if (folder / name).is_file():
            return read(_whole(folder / name))
        if (folder / f"{name}.index.json").is_file():
            return _read_shards(folder / f"{name}.index.json", read)
    if any(folder.rglob("*.incomplete")):
        raise UserError(f"{folder}: the download is incomplete; run it again until it ends")
    raise UserError(f"{folder}: no weights (looked for {', '.join(names)}); download one of them")


def weight_patterns(
    files: Collection[str], names: Sequence[str] = HUGGING_FACE_WEIGHTS
) -> list[str]:
    """Of the files a repository has, patterns for those that `read_tensors` would read.

    >>> weight_patterns(["pytorch_model.bin", "model.safetensors", "config.json"])
    ['model.safetensors', 'model.safetensors.index.json', 'model-*.safetensors']
    """
    for name in names:
        stem, ending = name.split(".")
        if name in files or f"{name}.index.json" in files:
            return [name, f"{name}.index.json", f"{stem}-*.{ending}"]
    return []


def _read_shards(index: Path, read: Callable[[Path], Tensors]) -> Tensors:
    content = read_json(index, "an index of shards")
    shards = sorted(set(field(content, "weight_map", dict[str, str], str(index)).values()))
    # An index is downloaded data: it may name files beside it and nothing else.
    if strange := [s for s in shards if Path(s).name != s]:
        raise UserError(f"{index}: names {strange[0]!r}, which is not a file of this folder")
    if missing := [shard for shard in shards if not is_ordinary(index.parent / shard)]:
        raise UserError(
            f"{index.parent}: incomplete download, {len(missing)} of {len(shards)} weight files "
            f"are missing ({', '.join(missing)}); download them"
        )
    return (tensor for shard in shards for tensor in read(_whole(index.parent / shard)))


def _whole(path: Path) -> Path:
    """Refuse an empty file, and the pointer that git leaves where it did not fetch a large file."""
    with path.open("rb") as file:
        start = file.read(40)
    if not start:
        raise UserError(f"{path}: empty file; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: a git-lfs pointer and not the weights; run `git lfs pull` there")
    return path


def _read_safetensors(path: Path) -> Tensors:
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict: it has no __iter__)
                yield name, file.get_tensor(name)
    except SafetensorError as error:
        raise UserError(f"{path}: incomplete or damaged ({error}); download it again") from error


def _read_msgpack(path: Path) -> Tensors:
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
    except Exception as error:  # msgpack has many, and all of them mean the same
        raise UserError(f"{path}: incomplete or damaged; download it again") from error
    if not isinstance(tree, Mapping):
        raise UserError(f"{path}: holds no tree of arrays; download it again")
    yield from _torch_names(tree, ())


def _torch_names(tree: Mapping[str, Any], path: tuple[str, ...]) -> Tensors:
    """Flax's tree in torch's names and layouts, so that one weight table serves both."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _torch_names(value, (*path, name))
            continue
        array = np.asarray(value)
        if name == "kernel":
            # Convolutions are HWIO here and OIHW there; matrices are the other way round.
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        name = "weight" if name in ("kernel", "scale", "embedding") else name
        yield ".".join((*path, name)), array


def _read_torch(path: Path) -> Tensors:
    yield from read_torch_zip(path).items()


_FORMATS: dict[str, Callable[[Path], Tensors]] = {
    ".safetensors": _read_safetensors,
    ".msgpack": _read_msgpack,
    ".bin": _read_torch,
}
