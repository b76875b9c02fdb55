"""Encoders by their sizes alone: nothing is downloaded and no weight is made."""

from pathlib import Path
from typing import Any

from flax import nnx

from jaxcbm.encoders.checkpoint.kind import read_kind
from jaxcbm.encoders.checkpoint.resolution import at_image_size
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.load import find_checkpoint
from jaxcbm.errors import UserError
from jaxcbm.flat_params import abstract

_LARGE: dict[str, Any] = {
    "projection_dim": 768,
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
}
# What the config.json of these says; the sizes that it leaves out have their defaults.
KNOWN: dict[str, dict[str, Any]] = {
    "openai/clip-vit-base-patch32": {},
    "openai/clip-vit-base-patch16": {"vision_config": {"patch_size": 16}},
    "openai/clip-vit-large-patch14": _LARGE,
    "openai/clip-vit-large-patch14-336": {
        **_LARGE,
        "vision_config": {**_LARGE["vision_config"], "image_size": 336},
    },
}


def encoder_structure(name: str, dtype: str, image_size: int = 0) -> DualEncoder:
    """A dual encoder whose parameters are shapes.

    Args:
        name: one of OpenAI's CLIP models, `jaxcbm/tiny`, or a folder with a config.json.
        dtype: of the operands of its matrix products.
        image_size: pixels along an edge; 0 for its own.

    Returns:
        An encoder without a tokenizer, which embeds nothing but can be compiled.

    Raises:
        UserError: sizes that are not known here.

    >>> encoder = encoder_structure("openai/clip-vit-base-patch32", "bfloat16")
    >>> encoder.embed_dim, encoder.params["vision.positions"].shape
    (512, (50, 768))
    """
    if name in KNOWN:
        kind, content = "clip", KNOWN[name]
    elif Path(name).expanduser().is_dir() or name.startswith("jaxcbm/"):
        folder = find_checkpoint(name)
        kind, content = read_kind(folder, [path.name for path in folder.iterdir()])
    else:
        raise UserError(
            f"the sizes of {name} are not known here, and plan downloads nothing: give a folder "
            f"with its config.json, or one of {', '.join(KNOWN)}"
        )
    family = FAMILIES[kind]
    config = family.config(content)
    if image_size:
        config = at_image_size(config, image_size)
    graph, shapes = abstract(lambda: family.model(config, rngs=nnx.Rngs(0)))
    unused: Any = None
    return DualEncoder(
        name=name,
        family=kind,
        config=config,
        graph=graph,
        params=shapes,
        # Its colours are constants of the program and cost the same whatever they are.
        preprocess=Preprocess.square(config.vision.image_size),
        tokenizer=unused,
        dtype=dtype,
    )
