"""A dual encoder by name: one shipped with the package, a folder, or a name on the hub."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx

from jaxcbm.encoders.clip import LEGACY_END_OF_TEXT, Clip
from jaxcbm.encoders.clip_config import ClipConfig
from jaxcbm.encoders.clip_weights import CLIP_IGNORED, CLIP_ROWS
from jaxcbm.encoders.convert import Row, to_ours
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.hub import download
from jaxcbm.encoders.preprocess import Preprocess
from jaxcbm.encoders.tensor_files import read_tensors
from jaxcbm.encoders.tokenizer import Tokenizer
from jaxcbm.errors import UserError
from jaxcbm.flat_params import abstract

_PRETRAINED = Path(__file__).parent / "pretrained"
_BUILT_IN = {"jaxcbm/tiny": _PRETRAINED / "tiny"}


class Family(NamedTuple):
    """What it takes to read one kind of checkpoint.

    Attributes:
        config: content of config.json -> sizes.
        model: sizes and random streams -> module with `encode_image` and `encode_text`.
        rows: the weight table.
        ignored: names of tensors that carry no weight.
    """

    config: Callable[[Mapping[str, Any]], Any]
    model: Callable[..., nnx.Module]
    rows: tuple[Row, ...]
    ignored: tuple[str, ...]


FAMILIES: dict[str, Family] = {
    "clip": Family(ClipConfig.from_hf, Clip, CLIP_ROWS, CLIP_IGNORED),
}


def load_encoder(name_or_folder: str | Path, dtype: str = "float32") -> DualEncoder:
    """Load a pre-trained dual encoder.

    Args:
        name_or_folder: "jaxcbm/tiny", which comes with the package; a folder in Hugging Face's
            layout; or a name on the hub, such as "openai/clip-vit-base-patch32".
        dtype: type of the operands of matrix products, "float32" or "bfloat16". Weights are held,
            and sums are made, in float32 either way.

    Returns:
        The encoder, on the default device.

    Raises:
        UserError: no such folder or name, an unknown family, an incomplete download, or weights,
            tokenizer, preprocessing and config.json that do not belong together.
    """
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"unknown encoder dtype {dtype!r}; give float32 or bfloat16")
    folder = _find(name_or_folder)
    content = _read_config(folder)
    family = _family(content, folder)
    config = family.config(content)
    preprocess = Preprocess.from_folder(folder)
    _check_size(preprocess, config.vision.image_size, folder)
    tokenizer = Tokenizer.from_folder(
        folder, positions=config.text.context_length, vocab_size=config.text.vocab_size
    )
    _check_end_of_text(tokenizer, config.text.end_of_text_id, folder)
    graph, shapes = abstract(lambda: family.model(config, rngs=nnx.Rngs(0)))
    arrays = to_ours(
        read_tensors(folder), shapes, family.rows, ignored=family.ignored, where=str(folder)
    )
    return DualEncoder(
        name=str(name_or_folder),
        family=content["model_type"],
        config=config,
        graph=graph,
        params=jax.device_put(arrays),
        preprocess=preprocess,
        tokenizer=tokenizer,
        dtype=dtype,
    )


def _find(name_or_folder: str | Path) -> Path:
    name = str(name_or_folder)
    folder = _BUILT_IN.get(name, Path(name).expanduser())
    if folder.is_dir():
        return folder
    if name in _BUILT_IN:
        raise UserError(f"{name}: this installation lacks its weights; install jaxcbm again")
    if isinstance(name_or_folder, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name):
        return download(name)
    raise UserError(
        f"no such folder: {name} (give a folder with config.json, a hub name such as "
        f"openai/clip-vit-base-patch32, or {', '.join(_BUILT_IN)})"
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder}: no config.json; give a checkpoint in Hugging Face's layout")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a model's configuration; download it again")
    return content


def _family(content: Mapping[str, Any], folder: Path) -> Family:
    kind = content.get("model_type")
    if kind not in FAMILIES:
        raise UserError(
            f"{folder / 'config.json'}: model_type {kind!r} is not supported "
            f"(supported: {', '.join(FAMILIES)})"
        )
    return FAMILIES[kind]


def _check_end_of_text(tokenizer: Tokenizer, end_of_text_id: int, folder: Path) -> None:
    # The reference would pool every text at its first token, and embed all texts alike.
    if end_of_text_id not in (LEGACY_END_OF_TEXT, tokenizer.end_of_text_id):
        raise UserError(
            f"{folder}: config.json says eos_token_id {end_of_text_id} but the tokenizer ends "
            f"texts with {tokenizer.end_of_text_id}; use the tokenizer these weights came with"
        )


def _check_size(preprocess: Preprocess, image_size: int, folder: Path) -> None:
    if preprocess.output_size != (image_size, image_size):
        made = preprocess.output_size
        said = "pictures of varying size" if made is None else f"{made[0]} x {made[1]} pixels"
        raise UserError(
            f"{folder}: its preprocessor makes {said} but config.json says image_size "
            f"{image_size}; use the preprocessor file these weights came with"
        )
