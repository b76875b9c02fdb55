"""A dual encoder as a folder in Hugging Face's layout, which transformers reads as well."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from jaxcbm.atomic import atomic_folder, write_json
from jaxcbm.encoders.checkpoint.convert import to_theirs
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.tokenizer import TOKENIZER_FILES


def save_encoder(
    folder: Path,
    config: Any,
    params: Mapping[str, Any],
    tokenizer_folder: Path,
    preprocess: Preprocess,
    dtype: str = "float16",
) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and preprocessor_config.json.

    The folder appears whole or not at all: it is written aside and then renamed. An encoder that
    is already there is replaced.

    Args:
        folder: where to; its parent is created if need be.
        config: sizes of the towers, such as `ClipConfig`.
        params: float32 arrays by our name.
        tokenizer_folder: where the tokenizer's files lie.
        preprocess: how pictures enter.
        dtype: type of the stored weights, "float16" or "float32".
    """
    content = config.to_hf()
    rows = FAMILIES[content["model_type"]].rows
    tensors = {
        name: _narrow(name, array, np.dtype(dtype)) for name, array in to_theirs(params, rows)
    }
    with atomic_folder(folder) as aside:
        for name in TOKENIZER_FILES:
            if (Path(tokenizer_folder) / name).is_file():
                shutil.copyfile(Path(tokenizer_folder) / name, aside / name)
        write_json(aside / "config.json", {**content, "dtype": dtype})
        write_json(aside / "preprocessor_config.json", preprocess.to_hf())
        save_file(tensors, aside / "model.safetensors", metadata={"format": "pt"})


def _narrow(name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    limit = np.finfo(dtype).max
    if not np.all(np.abs(array) <= limit):
        raise ValueError(f"{name} has values beyond {limit} and cannot be stored as {dtype}")
    # A transposed view would be written as it lies in memory.
    return np.array(array, dtype, order="C")
