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


def block_rows(theirs: str, ours: str) -> list[TensorRule]:
    """Every pre-norm block of a tower."""
    theirs, ours = f"{theirs}.encoder.layers.{{}}", f"{ours}.blocks.{{}}"
    return [
        *norm_rows(f"{theirs}.layer_norm1", f"{ours}.norm1"),
        *linear_rows(f"{theirs}.self_attn.q_proj", f"{ours}.attn.q"),
        *linear_rows(f"{theirs}.self_attn.k_proj", f"{ours}.attn.k"),
        *linear_rows(f"{theirs}.self_attn.v_proj", f"{ours}.attn.v"),
        *linear_rows(f"{theirs}.self_attn.out_proj", f"{ours}.attn.out"),
        *norm_rows(f"{theirs}.layer_norm2", f"{ours}.norm2"),
        *linear_rows(f"{theirs}.mlp.fc1", f"{ours}.mlp.up"),
        *linear_rows(f"{theirs}.mlp.fc2", f"{ours}.mlp.down"),
    ]


CLIP_ROWS: tuple[TensorRule, ...] = (
    TensorRule("vision_model.embeddings.class_embedding", "vision.class_token", SAME),
    TensorRule("vision_model.embeddings.patch_embedding.weight", "vision.patch.kernel", PATCH),
    TensorRule("vision_model.embeddings.position_embedding.weight", "vision.positions", SAME),
    *norm_rows("vision_model.pre_layrnorm", "vision.pre_norm"),  # spelt so in every checkpoint
    *block_rows("vision_model", "vision"),
    *norm_rows("vision_model.post_layernorm", "vision.post_norm"),
    TensorRule("visual_projection.weight", "vision.projection.kernel", TRANSPOSED),
    TensorRule("text_model.embeddings.token_embedding.weight", "text.tokens", SAME),
    TensorRule("text_model.embeddings.position_embedding.weight", "text.positions", SAME),
    *block_rows("text_model", "text"),
    *norm_rows("text_model.final_layer_norm", "text.final_norm"),
    TensorRule("text_projection.weight", "text.projection.kernel", TRANSPOSED),
    TensorRule("logit_scale", "logit_scale", SAME),
)

# Counters that older versions stored beside the weights.
CLIP_IGNORED: tuple[str, ...] = (r"(text|vision)_model\.embeddings\.position_ids",)
