"""The tensors of a CLIP checkpoint in Hugging Face's naming, and where each of them goes."""

from jaxcbm.encoders.checkpoint.convert import PATCH, SAME, TRANSPOSED, Layout, TensorRule


def linear_rows(theirs: str, ours: str, layout: Layout = TRANSPOSED) -> list[TensorRule]:
    """Weight and bias of a linear layer, or of a convolution that is one over patches."""
    return [
        TensorRule(f"{theirs}.weight", f"{ours}.kernel", layout),
        TensorRule(f"{theirs}.bias", f"{ours}.bias", SAME),
    ]


def norm_rows(theirs: str, ours: str) -> list[TensorRule]:
    """Scale and bias of a layer norm."""
    return [
        TensorRule(f"{theirs}.weight", f"{ours}.scale", SAME),
        TensorRule(f"{theirs}.bias", f"{ours}.bias", SAME),
    ]


# What Hugging Face calls the parts of a pre-norm block: its norms, attention, and the MLP's layers.
_HF_PARTS = ("layer_norm1", "self_attn", "layer_norm2", "mlp.fc1", "mlp.fc2")


def block_rows(
    theirs: str, ours: str, parts: tuple[str, str, str, str, str] = _HF_PARTS
) -> list[TensorRule]:
    """Every pre-norm block of a tower.

    Args:
        theirs: name of the list of blocks in the checkpoint.
        ours: path of the tower.
        parts: names of a block's first norm, attention, second norm, and the MLP's two layers.
    """
    theirs, ours = f"{theirs}.{{}}", f"{ours}.blocks.{{}}"
    norm1, attn, norm2, up, down = (f"{theirs}.{part}" for part in parts)
    return [
        *norm_rows(norm1, f"{ours}.norm1"),
        *linear_rows(f"{attn}.q_proj", f"{ours}.attn.q"),
        *linear_rows(f"{attn}.k_proj", f"{ours}.attn.k"),
        *linear_rows(f"{attn}.v_proj", f"{ours}.attn.v"),
        *linear_rows(f"{attn}.out_proj", f"{ours}.attn.out"),
        *norm_rows(norm2, f"{ours}.norm2"),
        *linear_rows(up, f"{ours}.mlp.up"),
        *linear_rows(down, f"{ours}.mlp.down"),
    ]


CLIP_ROWS: tuple[TensorRule, ...] = (
    TensorRule("vision_model.embeddings.class_embedding", "vision.class_token", SAME),
    TensorRule("vision_model.embeddings.patch_embedding.weight", "vision.patch.kernel", PATCH),
    TensorRule("vision_model.embeddings.position_embedding.weight", "vision.positions", SAME),
    *norm_rows("vision_model.pre_layrnorm", "vision.pre_norm"),  # spelt so in every checkpoint
    *block_rows("vision_model.encoder.layers", "vision"),
    *norm_rows("vision_model.post_layernorm", "vision.post_norm"),
    TensorRule("visual_projection.weight", "vision.projection.kernel", TRANSPOSED),
    TensorRule("text_model.embeddings.token_embedding.weight", "text.tokens", SAME),
    TensorRule("text_model.embeddings.position_embedding.weight", "text.positions", SAME),
    *block_rows("text_model.encoder.layers", "text"),
    *norm_rows("text_model.final_layer_norm", "text.final_norm"),
    TensorRule("text_projection.weight", "text.projection.kernel", TRANSPOSED),
    TensorRule("logit_scale", "logit_scale", SAME),
)

# Counters that older versions stored beside the weights.
CLIP_IGNORED: tuple[str, ...] = (r"(text|vision)_model\.embeddings\.position_ids",)
