"""`jaxcbm bench`: how fast this machine is, before a long run is planned on it."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

import jaxcbm
from jaxcbm.atomic import write_json
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.experiment.speed import (
    QUICK,
    Sizes,
    Speed,
    encode_speed,
    predict_speed,
    random_encoder,
    train_speed,
)

NAMES = ("encode", "train", "predict")


def run(
    only: Sequence[str] = NAMES,
    *,
    encoder: str | None = None,
    dtype: str = "float32",
    quick: bool = False,
    output: Path | None = None,
) -> dict[str, Any]:
    """Measure, and write the numbers as JSON if asked to.

    Args:
        only: of "encode", "train" and "predict".
        encoder: as `load_encoder` takes it; None is ViT-B/32 with random weights.
        dtype: of the encoder's matrix products.
        quick: toy sizes, which show that everything runs and not how fast.
        output: a .json file.

    Raises:
        UserError: no such measurement or encoder.
    """
    if unknown := [name for name in only if name not in NAMES]:
        raise UserError(f"--only={unknown[0]}: give one of {', '.join(NAMES)}")
    sizes = QUICK if quick else Sizes()
    tower = load_encoder(encoder, dtype) if encoder else random_encoder(small=quick, dtype=dtype)
    measure = {
        "encode": lambda: encode_speed(tower, sizes),
        "train": lambda: train_speed(tower.embed_dim, sizes),
        "predict": lambda: predict_speed(tower, sizes),
    }
    speeds: list[Speed] = []
    for name in only:
        logging.info("measuring %s", name)
        speeds += measure[name]()
    found = {"speeds": [speed._asdict() for speed in speeds], "machine": _machine()}
    if output is not None:
        write_json(output, found)
    return found


def table(found: dict[str, Any]) -> str:
    """The numbers as aligned lines, and what they were measured on."""
    rows = [
        (speed["name"], f"{speed['value']:,.1f} {speed['unit']}", speed["what"])
        for speed in found["speeds"]
    ]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]}" for row in rows]
    machine = found["machine"]
    on = f"{machine['devices']} x {machine['device']}, jax {machine['jax']}"
    return "\n".join([*lines, f"on {on}"])


def _machine() -> dict[str, Any]:
    return {
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "devices": jax.device_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxcbm": jaxcbm.__version__,
    }
