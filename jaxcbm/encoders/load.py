"""A dual encoder by name: one shipped with the package, a folder, or a name on the hub."""

from pathlib import Path

import jax
from flax import nnx

from jaxcbm.encoders.checkpoint.convert import to_ours
from jaxcbm.encoders.checkpoint.hub import download
from jaxcbm.encoders.checkpoint.kind import read_kind
from jaxcbm.encoders.checkpoint.resolution import at_image_size, fit_positions
from jaxcbm.encoders.checkpoint.tensor_files import read_tensors
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.errors import UserError
from jaxcbm.flat_params import abstract
from jaxcbm.hub import parse_hub_name

_PRETRAINED = Path(__file__).parent / "pretrained"
_BUILT_IN = {"jaxcbm/tiny": _PRETRAINED / "tiny"}


def load_encoder(
    name_or_folder: DualEncoder | str | Path,
    dtype: str = "float32",
    *,
    image_size: int | None = None,
) -> DualEncoder:
    """Load a pre-trained dual encoder.

    Args:
        name_or_folder: "jaxcbm/tiny", which comes with the package; a folder in Hugging Face's or
            open_clip's layout; or a name on the hub, such as "openai/clip-vit-base-patch32", which
            may begin with `hf-hub:` and end in `@REVISION`. An encoder that is loaded already comes
            back as it is.
        dtype: type of the operands of matrix products, "float32" or "bfloat16". Weights are held,
            and sums are made, in float32 either way.
        image_size: height and width of the pictures, where it shall not be the checkpoint's own;
            position embeddings are interpolated to it.

    Returns:
        The encoder, on the default device.

    Raises:
        UserError: no such folder or name, an unknown family, an incomplete download, or weights,
            tokenizer, preprocessing and config.json that do not belong together.

    >>> load_encoder("jaxcbm/tiny").embed_texts("red crown").shape
    (1, 128)
    """
    if isinstance(name_or_folder, DualEncoder):
        return name_or_folder
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"unknown encoder dtype {dtype!r}; give float32 or bfloat16")
    folder = find_checkpoint(name_or_folder)
    kind, content = read_kind(folder, [path.name for path in folder.iterdir()])
    family = FAMILIES[kind]
    stored = family.config(content)
    config = stored if image_size is None else at_image_size(stored, image_size)
    preprocess = family.preprocess(folder)
    _check_size(preprocess, stored.vision.image_size, folder)
    tokenizer = family.tokenizer(folder, config)
    graph, shapes = abstract(lambda: family.model(stored, rngs=nnx.Rngs(0)))
    tensors = read_tensors(folder, family.weights)
    if family.rename is not None:
        tensors = family.rename(tensors)
    arrays = to_ours(tensors, shapes, family.rows, ignored=family.ignored, where=str(folder))
    if image_size is not None and config != stored:
        preprocess = preprocess.at_size(image_size)
        arrays = fit_positions(arrays, stored, config)
        graph, _ = abstract(lambda: family.model(config, rngs=nnx.Rngs(0)))
    return DualEncoder(
        name=str(name_or_folder),
        family=kind,
        config=config,
        graph=graph,
        params=jax.device_put(arrays),
        preprocess=preprocess,
        tokenizer=tokenizer,
        dtype=dtype,
    )


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The folder of what `load_encoder` would load; a hub name is downloaded if need be."""
    name = str(name_or_folder)
    folder = _BUILT_IN.get(name, Path(name).expanduser())
    if folder.is_dir():
        return folder
    if name in _BUILT_IN:
        raise UserError(f"{name}: this installation lacks its weights; install jaxcbm again")
    if isinstance(name_or_folder, str) and (found := parse_hub_name(name)):
        return download(found)
    raise UserError(
        f"no such folder: {name} (give a folder with config.json, a hub name such as "
        f"openai/clip-vit-base-patch32, or {', '.join(_BUILT_IN)})"
    )


def named_everywhere(name: str) -> bool:
    """Whether others may load an encoder by this name: one of ours, or one of the hub.

    >>> named_everywhere("jaxcbm/tiny"), named_everywhere("/home/me/clip")
    (True, False)
    """
    is_folder = Path(name).expanduser().is_dir()
    return name in _BUILT_IN or (parse_hub_name(name) is not None and not is_folder)


def _check_size(preprocess: Preprocess, image_size: int, folder: Path) -> None:
    if preprocess.output_size != (image_size, image_size):
        made = preprocess.output_size
        said = "pictures of varying size" if made is None else f"{made[0]} x {made[1]} pixels"
        raise UserError(
            f"{folder}: its preprocessor makes {said} but config.json says image_size "
            f"{image_size}; use the preprocessor file these weights came with (image_size= of "
            "load_encoder asks for another size)"
        )
