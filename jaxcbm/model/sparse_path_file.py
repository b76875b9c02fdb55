"""The path of sparse heads beside a saved model, so that new images can be evaluated on it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.bottleneck.sparse.packed import PackedPath
from jaxcbm.bottleneck.sparse.sized_heads import SizedHeads
from jaxcbm.errors import UserError


def save_sparse_path(file: Path, choice: SparseChoice) -> None:
    """Write the path, its heads of given sizes, and what its activations are standardised with.

    The head is the model's.
    """
    tensors = {
        **_tensors("path", choice.path),
        "valid_top1": choice.valid_top1,
        "chosen": np.array([choice.chosen], np.int64),
        "mean": choice.mean,
        "scale": choice.scale,
    }
    if choice.sized is not None:
        tensors |= {"sizes": choice.sized.sizes, **_tensors("sized", choice.sized.heads)}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, file)


def load_sparse_path(file: Path, params: Mapping[str, np.ndarray]) -> SparseChoice:
    """Read what `save_sparse_path` wrote.

    Args:
        file: to be read.
        params: the model's, for its head.

    Raises:
        UserError: the file is not whole, or not from a version of jaxcbm that writes this one.
    """
    try:
        tensors = load_file(file)
        return SparseChoice(
            head=np.asarray(params["head.kernel"]).T,
            bias=np.asarray(params["head.bias"]),
            path=_heads("path", tensors),
            valid_top1=tensors["valid_top1"],
            chosen=int(tensors["chosen"][0]),
            mean=tensors["mean"],
            scale=tensors["scale"],
            sized=SizedHeads(tensors["sizes"], _heads("sized", tensors))
            if "sizes" in tensors
            else None,
        )
    except (SafetensorError, KeyError) as error:
        raise UserError(
            f"{file}: not a whole sparse path ({error}): delete it to go on without accuracy at "
            "equal numbers of concepts, or train again"
        ) from error


def _tensors(place: str, heads: PackedPath) -> dict[str, np.ndarray]:
    return {f"{place}.{name}": value for name, value in heads._asdict().items()}


def _heads(place: str, tensors: Mapping[str, np.ndarray]) -> PackedPath:
    return PackedPath(**{name: tensors[f"{place}.{name}"] for name in PackedPath._fields})
