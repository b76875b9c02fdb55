"""The path of sparse heads beside a saved model, so that new images can be evaluated on it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxcbm.bottleneck.sparse.choice import SparseChoice
from jaxcbm.bottleneck.sparse.packed import PackedPath
from jaxcbm.errors import UserError


def save_sparse_path(file: Path, choice: SparseChoice) -> None:
    """Write the path and what its activations are standardised with; the head is the model's."""
    tensors = {
        **{f"path.{name}": value for name, value in choice.path._asdict().items()},
        "valid_top1": choice.valid_top1,
        "chosen": np.array([choice.chosen], np.int64),
        "mean": choice.mean,
        "scale": choice.scale,
    }
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
            path=PackedPath(**{name: tensors[f"path.{name}"] for name in PackedPath._fields}),
            valid_top1=tensors["valid_top1"],
            chosen=int(tensors["chosen"][0]),
            mean=tensors["mean"],
            scale=tensors["scale"],
        )
    except (SafetensorError, KeyError) as error:
        raise UserError(
            f"{file}: not a whole sparse path ({error}): delete it to go on without accuracy at "
            "equal numbers of concepts, or train again"
        ) from error
