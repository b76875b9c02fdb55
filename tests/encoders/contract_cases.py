"""One small checkpoint of every kind that `load_encoder` reads, for the contract they all keep.

A family is added by adding cases here and its goldens to tests/goldens.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import random_bert_families
import random_clip
import random_open_clip
import random_siglip


class Case(NamedTuple):
    """A checkpoint and what torch makes of it.

    Attributes:
        kind: key of `FAMILIES`.
        write: (folder, scratch) -> the checkpoint's folder.
        inputs: () -> normalised pixels float32 [B, S, S, 3] and ids int32 [B, T].
        goldens: file of tests/goldens.
        key: its arrays are "KEY.image" and "KEY.text".
        weights: name of the file with the weights.
    """

    kind: str
    write: Callable[[Path, Path], Path]
    inputs: Callable[[], tuple[np.ndarray, np.ndarray]]
    goldens: str
    key: str
    weights: str = "model.safetensors"


def _write_clip(variant: str, folder: Path, scratch: Path) -> Path:
    return random_clip.write_checkpoint(folder, random_clip.VARIANTS[variant], scratch)


def _write_siglip(variant: str, folder: Path, _scratch: Path) -> Path:
    return random_siglip.write_checkpoint(folder, variant)


def _write_open_clip(variant: str, folder: Path, scratch: Path) -> Path:
    return random_open_clip.write_checkpoint(folder, variant, scratch)


def _write_bert_family(variant: str, folder: Path, _scratch: Path) -> Path:
    return random_bert_families.write_checkpoint(folder, random_bert_families.VARIANTS[variant])


CASES: dict[str, Case] = {
    **{
        f"clip {name}": Case(
            "clip",
            partial(_write_clip, name),
            partial(random_clip.random_inputs, config),
            "clip.npz",
            name,
        )
        for name, config in random_clip.VARIANTS.items()
    },
    **{
        f"siglip {name}": Case(
            "siglip",
            partial(_write_siglip, name),
            partial(random_siglip.random_inputs, config),
            "siglip.npz",
            name,
        )
        for name, config in random_siglip.VARIANTS.items()
    },
    **{
        f"open_clip {name}": Case(
            "open_clip",
            partial(_write_open_clip, name),
            partial(random_open_clip.random_inputs, config),
            "open_clip.npz",
            name,
            "open_clip_pytorch_model.bin" if name == "text" else "open_clip_model.safetensors",
        )
        for name, config in random_open_clip.VARIANTS.items()
    },
    **{
        name: Case(
            config["model_type"],
            partial(_write_bert_family, name),
            partial(random_bert_families.random_inputs, config),
            f"{config['model_type']}.npz",
            name,
        )
        for name, config in random_bert_families.VARIANTS.items()
    },
}
