"""The tensors of an AltCLIP checkpoint in Hugging Face's naming, and where each of them goes."""

from jaxcbm.encoders.bert.weights import bert_rows
from jaxcbm.encoders.checkpoint.convert import SAME, TRANSPOSED, TensorRule
from jaxcbm.encoders.clip.weights import CLIP_ROWS, linear_rows, norm_rows

ALTCLIP_ROWS: tuple[TensorRule, ...] = (
    *(row for row in CLIP_ROWS if row.ours.startswith("vision.")),
    # The published files say `layer`, what the model class itself is called since says `layers`.
    *bert_rows("text_model.roberta", "layer", "layers"),
    *norm_rows("text_model.pre_LN", "text.final_norm"),
    *linear_rows("text_model.transformation", "text.transformation"),
    TensorRule("text_projection.weight", "text.projection.kernel", TRANSPOSED),
    TensorRule("logit_scale", "logit_scale", SAME),
)

# Counters that older versions stored beside the weights, and a pooler that nothing reads.
ALTCLIP_IGNORED: tuple[str, ...] = (
    r"vision_model\.embeddings\.position_ids",
    r"text_model\.roberta\.embeddings\.(position_ids|token_type_ids)",
    r"text_model\.roberta\.pooler\.dense\.(weight|bias)",
)
