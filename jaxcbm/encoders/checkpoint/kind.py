"""Which family a checkpoint is of, told by its configuration files."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from jaxcbm.encoders.checkpoint.tensor_files import weight_patterns
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.json_file import field, read_json
from jaxcbm.encoders.open_clip.config import OPEN_CLIP_CONFIG
from jaxcbm.errors import UserError

_REFUSED = {
    "siglip2": "is SigLIP 2 for pictures of varying size (naflex), which is not supported; take a "
    "fixed-resolution checkpoint such as google/siglip2-base-patch16-224",
}


def read_kind(folder: Path, files: Collection[str]) -> tuple[str, dict[str, Any]]:
    """Read a checkpoint's configuration.

    A folder may hold a model twice, as Hugging Face writes it and as open_clip does; the first is
    taken where its weights are there.

    Args:
        folder: holds config.json or open_clip_config.json.
        files: names of all files of the checkpoint, weights included, here or on the hub.

    Returns:
        A key of `FAMILIES`, and the content of the configuration.

    Raises:
        UserError: there is no configuration, it is damaged, or its family is not supported.
    """
    config, open_clip = folder / "config.json", folder / OPEN_CLIP_CONFIG
    content = read_json(config, "a model's configuration") if config.is_file() else {}
    kind = field(content, "model_type", str | None, str(config))
    if open_clip.is_file():
        plain = kind in FAMILIES and weight_patterns(files, FAMILIES[kind].weights)
        if not plain:
            return "open_clip", read_json(open_clip, "a model's configuration")
    if not config.is_file():
        raise UserError(
            f"{folder}: no config.json; give a checkpoint in Hugging Face's or open_clip's layout"
        )
    if kind not in FAMILIES:
        why = _REFUSED.get(str(kind), f"is not supported (supported: {', '.join(FAMILIES)})")
        raise UserError(f"{config}: model_type {kind!r} {why}")
    return kind, content
