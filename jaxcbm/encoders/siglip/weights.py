"""The tensors of a SigLIP checkpoint in Hugging Face's naming, and where each of them goes."""

import numpy as np

from jaxcbm.encoders.checkpoint.convert import PATCH, SAME, TRANSPOSED, Layout, TensorRule
from jaxcbm.encoders.clip.weights import block_rows, linear_rows, norm_rows

# One number in a row of one; and a vector inside two rows of one.
_ROW_OF_ONE = Layout(lambda x: np.squeeze(x, 0), lambda x: x[None])
_PROBE = Layout(lambda x: np.squeeze(x, (0, 1)), lambda x: x[None, None])

_HEAD = "vision_model.head"

SIGLIP_ROWS: tuple[TensorRule, ...] = (
    *linear_rows("vision_model.embeddings.patch_embedding", "vision.patch", PATCH),
    TensorRule("vision_model.embeddings.position_embedding.weight", "vision.positions", SAME),
    *block_rows("vision_model.encoder.layers", "vision"),
    *norm_rows("vision_model.post_layernorm", "vision.post_norm"),
    TensorRule(f"{_HEAD}.probe", "vision.head.probe", _PROBE),
    # torch's MultiheadAttention keeps queries, keys and values in one matrix, and so do we.
    TensorRule(f"{_HEAD}.attention.in_proj_weight", "vision.head.qkv.kernel", TRANSPOSED),
    TensorRule(f"{_HEAD}.attention.in_proj_bias", "vision.head.qkv.bias", SAME),
    *linear_rows(f"{_HEAD}.attention.out_proj", "vision.head.out"),
    *norm_rows(f"{_HEAD}.layernorm", "vision.head.norm"),
    *linear_rows(f"{_HEAD}.mlp.fc1", "vision.head.mlp.up"),
    *linear_rows(f"{_HEAD}.mlp.fc2", "vision.head.mlp.down"),
    TensorRule("text_model.embeddings.token_embedding.weight", "text.tokens", SAME),
    TensorRule("text_model.embeddings.position_embedding.weight", "text.positions", SAME),
    *block_rows("text_model.encoder.layers", "text"),
    *norm_rows("text_model.final_layer_norm", "text.final_norm"),
    *linear_rows("text_model.head", "text.projection"),
    TensorRule("logit_scale", "logit_scale", _ROW_OF_ONE),
    TensorRule("logit_bias", "logit_bias", _ROW_OF_ONE),
)

SIGLIP_IGNORED: tuple[str, ...] = (r"(text|vision)_model\.embeddings\.position_ids",)
