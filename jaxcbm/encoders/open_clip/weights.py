"""The tensors of an open_clip checkpoint, and where each of them goes.

Texts stand at the top level or under `text.`; queries, keys and values lie in one tensor. Both are
undone before the table is asked.
"""

import re

import numpy as np

from jaxcbm.encoders.checkpoint.convert import PATCH, SAME, TensorRule
from jaxcbm.encoders.checkpoint.tensor_files import Tensors
from jaxcbm.encoders.clip.weights import block_rows, norm_rows

OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)


def open_clip_names(tensors: Tensors) -> Tensors:
    """One naming for both styles, and queries, keys and values apart."""
    for name, tensor in tensors:
        name = name.removeprefix("module.").removeprefix("text.")
        split = re.fullmatch(r"(.*\.attn)\.in_proj_(weight|bias)", name)
        if split is None or tensor.shape[0] % 3:
            yield name, tensor
            continue
        for part, piece in zip("qkv", np.split(tensor, 3), strict=True):
            yield f"{split[1]}.{part}_proj.{split[2]}", piece


# What open_clip calls the parts of a block, see `block_rows`.
_PARTS = ("ln_1", "attn", "ln_2", "mlp.c_fc", "mlp.c_proj")

OPEN_CLIP_ROWS: tuple[TensorRule, ...] = (
    TensorRule("visual.class_embedding", "vision.class_token", SAME),
    TensorRule("visual.conv1.weight", "vision.patch.kernel", PATCH),
    TensorRule("visual.positional_embedding", "vision.positions", SAME),
    *norm_rows("visual.ln_pre", "vision.pre_norm"),
    *block_rows("visual.transformer.resblocks", "vision", _PARTS),
    *norm_rows("visual.ln_post", "vision.post_norm"),
    TensorRule(
        "visual.proj", "vision.projection.kernel", SAME
    ),  # width first, unlike a torch linear
    TensorRule("token_embedding.weight", "text.tokens", SAME),
    TensorRule("positional_embedding", "text.positions", SAME),
    *block_rows("transformer.resblocks", "text", _PARTS),
    *norm_rows("ln_final", "text.final_norm"),
    TensorRule("text_projection", "text.projection.kernel", SAME),
    TensorRule("logit_scale", "logit_scale", SAME),
)

# A mask that older versions stored, and the sizes in the files that OpenAI published.
OPEN_CLIP_IGNORED: tuple[str, ...] = (r"attn_mask|input_resolution|context_length|vocab_size",)
