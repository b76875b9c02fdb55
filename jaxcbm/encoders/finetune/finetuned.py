"""What training changed of an encoder, saved alone: adapters, or parameters that trained whole."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcbm.described_tensors import load_described, save_described
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.lora import LoraConfig, adapted_paths, merge_lora
from jaxcbm.errors import UserError
from jaxcbm.typed_json import from_json

_FORMAT = "jaxcbm tuned encoder 1"


class FinetunedWeights(NamedTuple):
    """The difference between a finetuned encoder and the one it started from.

    Attributes:
        base_name: what that one was loaded by.
        base_hash: SHA-256 of its content, hex.
        lora: strength of the adapters.
        arrays: float32; `encoder.PATH` replaces a parameter, `lora.PATH.a` and `.b` adapt one.
    """

    base_name: str
    base_hash: str
    lora: LoraConfig
    arrays: Mapping[str, np.ndarray]


def apply_finetuned(encoder: DualEncoder, finetuned: FinetunedWeights) -> DualEncoder:
    """The finetuned encoder, adapters merged: an encoder like any other.

    Args:
        encoder: the one that the tuning started from.
        finetuned: what changed.

    Raises:
        UserError: another encoder.
    """
    if encoder.content_hash != finetuned.base_hash:
        raise UserError(
            f"encoder {encoder.name} is not what was finetuned ({encoder.content_hash[:12]} "
            f"instead of {finetuned.base_hash[:12]}): restore {finetuned.base_name} or train again"
        )
    replaced, adapters = (group(finetuned.arrays, name) for name in ("encoder", "lora"))
    _check(encoder, replaced, adapters)
    params = {**encoder.params, **{path: jnp.asarray(value) for path, value in replaced.items()}}
    return replace(encoder, params=merge_lora(params, adapters, finetuned.lora))


def group(arrays: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The arrays whose path begins with a name, under the rest of their path.

    >>> group({"encoder.a": 1, "head.b": 2}, "encoder")
    {'a': 1}
    """
    start = f"{name}."
    return {k.removeprefix(start): value for k, value in arrays.items() if k.startswith(start)}


def save_finetuned(path: Path | str, finetuned: FinetunedWeights) -> None:
    """Write one safetensors file: adapters of rank 8 on a ViT-B are a few megabytes."""
    said = {
        "format": _FORMAT,
        "base_name": finetuned.base_name,
        "base_hash": finetuned.base_hash,
        "lora": asdict(finetuned.lora),
    }
    save_described(path, finetuned.arrays, said)


def load_finetuned(path: Path | str) -> FinetunedWeights:
    """Read what `save_finetuned` wrote.

    Raises:
        UserError: no such file, a damaged one, or some other safetensors file.
    """
    if not Path(path).is_file():
        raise UserError(f"no finetuned encoder at {path}")
    try:
        said, arrays = load_described(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: incomplete or damaged ({error}); train again") from error
    if said.get("format") != _FORMAT:
        raise UserError(f"{path}: not a finetuned encoder of this version of jaxcbm")
    lora = from_json(LoraConfig, said["lora"], str(path))
    return FinetunedWeights(said["base_name"], said["base_hash"], lora, arrays)


def _check(
    encoder: DualEncoder, replaced: Mapping[str, np.ndarray], adapters: Mapping[str, np.ndarray]
) -> None:
    for path in (*replaced, *adapted_paths(adapters)):
        if path not in encoder.params:
            raise UserError(f"the finetuned encoder has {path}, which {encoder.name} lacks")
        shape = encoder.params[path].shape
        found = (
            replaced[path].shape
            if path in replaced
            else (adapters[f"{path}.a"].shape[0], adapters[f"{path}.b"].shape[1])
        )
        if found != shape:
            raise UserError(f"the finetuned {path} is {found}, that of {encoder.name} is {shape}")
