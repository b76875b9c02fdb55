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
        head_KxD = np.asarray(params["head.kernel"]).T
        path = _heads("path", tensors, head_KxD.shape)
        (chosen,) = tensors["chosen"].astype(np.int64).tolist()
        if not 0 <= chosen < len(path.nec) or tensors["valid_top1"].shape != path.nec.shape:
            raise ValueError("the head that was chosen is not on it")
        for name in ("mean", "scale"):
            if tensors[name].shape != head_KxD.shape[1:] or not np.isfinite(tensors[name]).all():
                raise ValueError(f"{name} is not a finite number for each concept")
        sized = None
        if "sizes" in tensors:
            sized = SizedHeads(tensors["sizes"], _heads("sized", tensors, head_KxD.shape))
            if sized.sizes.shape != sized.heads.nec.shape:
                raise ValueError("as many sizes as heads belong to it")
        return SparseChoice(
            head=head_KxD,
            bias=np.asarray(params["head.bias"]),
            path=path,
            valid_top1=tensors["valid_top1"],
            chosen=chosen,
            mean=tensors["mean"],
            scale=tensors["scale"],
            sized=sized,
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{file}: not a whole sparse path ({error}): delete it to go on without accuracy at "
            "equal numbers of concepts, or train again"
        ) from error


def _tensors(place: str, heads: PackedPath) -> dict[str, np.ndarray]:
    return {f"{place}.{name}": value for name, value in heads._asdict().items()}


def _heads(place: str, tensors: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> PackedPath:
    """Heads of shape [K, D], once their sparse rows are known to lie within them."""
    heads = PackedPath(**{name: tensors[f"{place}.{name}"] for name in PackedPath._fields})
    classes, concepts = shape
    count = len(heads.counts)
    of_each = (heads.lambdas, heads.objective, heads.certificate, heads.iterations, heads.nec)
    whole = all(value.shape == (count,) for value in of_each)
    whole &= heads.counts.shape == heads.biases.shape == (count, classes)
    whole &= all(np.issubdtype(x.dtype, np.integer) for x in (heads.counts, heads.columns))
    whole &= heads.values.shape == heads.columns.shape == (int(heads.counts.sum()),)
    if not whole or (heads.counts < 0).any() or (heads.columns >= concepts).any():
        raise ValueError(f"the heads of {place} do not fit the model's")
    if not (np.isfinite(heads.values).all() and np.isfinite(heads.biases).all()):
        raise ValueError(f"the heads of {place} hold inf or NaN")
    return heads
