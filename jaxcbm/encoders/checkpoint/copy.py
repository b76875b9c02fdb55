"""A copy of an encoder's checkpoint, with nothing in it that loading does not read."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jaxcbm.encoders.checkpoint.kind import read_kind
from jaxcbm.encoders.checkpoint.tensor_files import read_tensors
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.image.preprocess import PREPROCESS_FILES
from jaxcbm.encoders.load import find_checkpoint
from jaxcbm.encoders.open_clip.config import OPEN_CLIP_CONFIG
from jaxcbm.encoders.tokenizer import TOKENIZER_FILES


def copy_encoder(name_or_folder: str | Path, output: Path) -> None:
    """Copy what `load_encoder` would load; the copy loads to the same content hash.

    Weights of any format are written as one safetensors file, in the precision they have.

    Args:
        name_or_folder: as `load_encoder` takes it.
        output: a folder that is not there yet.

    Raises:
        UserError: there is no such checkpoint, or it is incomplete.
    """
    folder = find_checkpoint(name_or_folder)
    kind, _ = read_kind(folder, [path.name for path in folder.iterdir()])
    output.mkdir(parents=True)
    for name in ("config.json", OPEN_CLIP_CONFIG, *PREPROCESS_FILES, *TOKENIZER_FILES):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)
    names = FAMILIES[kind].weights
    # A transposed view would be written as it lies in memory.
    tensors = {name: np.array(array, order="C") for name, array in read_tensors(folder, names)}
    safe = next(name for name in names if name.endswith(".safetensors"))
    save_file(tensors, output / safe, metadata={"format": "pt"})
