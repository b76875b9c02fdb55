"""The tensors of a CLIP checkpoint in Hugging Face's naming, and where each of them goes."""

from jaxcbm.encoders.convert import PATCH, SAME, TRANSPOSED, Row


def _linear(theirs: str, ours: str) -> list[Row]:
    return [
        Row(f"{theirs}.weight", f"{ours}.kernel", TRANSPOSED),
        Row(f"{theirs}.bias", f"{ours}.bias", SAME),
    ]


def _norm(theirs: str, ours: str) -> list[Row]:
    return [
        Row(f"{theirs}.weight", f"{ours}.scale", SAME),
        Row(f"{theirs}.bias", f"{ours}.bias", SAME),
    ]


def _blocks(theirs: str, ours: str) -> list[Row]:
    theirs, ours = f"{theirs}.encoder.layers.{{}}", f"{ours}.blocks.{{}}"
    return [
        *_norm(f"{theirs}.layer_norm1", f"{ours}.norm1"),
        *_linear(f"{theirs}.self_attn.q_proj", f"{ours}.attn.q"),
        *_linear(f"{theirs}.self_attn.k_proj", f"{ours}.attn.k"),
        *_linear(f"{theirs}.self_attn.v_proj", f"{ours}.attn.v"),
        *_linear(f"{theirs}.self_attn.out_proj", f"{ours}.attn.out"),
        *_norm(f"{theirs}.layer_norm2", f"{ours}.norm2"),
        *_linear(f"{theirs}.mlp.fc1", f"{ours}.mlp.up"),
        *_linear(f"{theirs}.mlp.fc2", f"{ours}.mlp.down"),
    ]


CLIP_ROWS: tuple[Row, ...] = (
    Row("vision_model.embeddings.class_embedding", "vision.class_token", SAME),
    Row("vision_model.embeddings.patch_embedding.weight", "vision.patch.kernel", PATCH),
    Row("vision_model.embeddings.position_embedding.weight", "vision.positions", SAME),
    *_norm("vision_model.pre_layrnorm", "vision.pre_norm"),  # spelt so in every checkpoint
    *_blocks("vision_model", "vision"),
    *_norm("vision_model.post_layernorm", "vision.post_norm"),
    Row("visual_projection.weight", "vision.projection.kernel", TRANSPOSED),
    Row("text_model.embeddings.token_embedding.weight", "text.tokens", SAME),
    Row("text_model.embeddings.position_embedding.weight", "text.positions", SAME),
    *_blocks("text_model", "text"),
    *_norm("text_model.final_layer_norm", "text.final_norm"),
    Row("text_projection.weight", "text.projection.kernel", TRANSPOSED),
    Row("logit_scale", "logit_scale", SAME),
)

# Counters that older versions stored beside the weights.
CLIP_IGNORED: tuple[str, ...] = (r"(text|vision)_model\.embeddings\.position_ids",)
