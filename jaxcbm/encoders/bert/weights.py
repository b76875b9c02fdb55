"""The tensors of a BERT text tower in Hugging Face's naming, and where each of them goes."""

from jaxcbm.encoders.checkpoint.convert import SAME, TensorRule
from jaxcbm.encoders.clip.weights import linear_rows, norm_rows


def bert_rows(theirs: str, *layer_names: str) -> tuple[TensorRule, ...]:
    """Rows of a tower that is called `text.bert` here.

    Args:
        theirs: prefix of the tower's tensors.
        layer_names: what the list of layers is called, in one file or the other; saving writes the
            first.
    """
    return (
        TensorRule(f"{theirs}.embeddings.word_embeddings.weight", "text.bert.tokens", SAME),
        TensorRule(f"{theirs}.embeddings.position_embeddings.weight", "text.bert.positions", SAME),
        TensorRule(
            f"{theirs}.embeddings.token_type_embeddings.weight", "text.bert.token_types", SAME
        ),
        *norm_rows(f"{theirs}.embeddings.LayerNorm", "text.bert.norm"),
        *(row for name in layer_names for row in _block_rows(f"{theirs}.encoder.{name}.{{}}")),
    )


def _block_rows(theirs: str) -> list[TensorRule]:
    ours = "text.bert.blocks.{}"
    return [
        *linear_rows(f"{theirs}.attention.self.query", f"{ours}.attn.q"),
        *linear_rows(f"{theirs}.attention.self.key", f"{ours}.attn.k"),
        *linear_rows(f"{theirs}.attention.self.value", f"{ours}.attn.v"),
        *linear_rows(f"{theirs}.attention.output.dense", f"{ours}.attn.out"),
        *norm_rows(f"{theirs}.attention.output.LayerNorm", f"{ours}.attn_norm"),
        *linear_rows(f"{theirs}.intermediate.dense", f"{ours}.mlp.up"),
        *linear_rows(f"{theirs}.output.dense", f"{ours}.mlp.down"),
        *norm_rows(f"{theirs}.output.LayerNorm", f"{ours}.mlp_norm"),
    ]
