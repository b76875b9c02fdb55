"""The tensors of an ALIGN checkpoint in Hugging Face's naming, and where each of them goes."""

import numpy as np

from jaxcbm.encoders.bert.weights import bert_rows
from jaxcbm.encoders.checkpoint.convert import PATCH, SAME, Layout, TensorRule
from jaxcbm.encoders.clip.weights import linear_rows, norm_rows

# A convolution of width one, as a matrix over channels.
_POINTWISE = Layout(lambda w: np.squeeze(w, (2, 3)).T, lambda w: w.T[..., None, None])
# One window a channel.
_DEPTHWISE = Layout(
    lambda w: np.squeeze(w, 1).transpose(1, 2, 0), lambda w: w.transpose(2, 0, 1)[:, None]
)


def _negative_log(x: np.ndarray) -> np.ndarray:
    if not np.all(x > 0):
        raise ValueError(f"a temperature of {x}")
    return np.asarray(-np.log(x.astype(np.float64)))


# ALIGN divides cosines by a temperature; the log of the scale that they are multiplied by is the
# negative of its log.
_TEMPERATURE = Layout(_negative_log, lambda x: np.asarray(np.exp(-x.astype(np.float64))))


def _gate_rows(theirs: str, ours: str) -> list[TensorRule]:
    return [
        TensorRule(f"{theirs}.weight", f"{ours}.matrix", _POINTWISE),
        TensorRule(f"{theirs}.bias", f"{ours}.bias", SAME),
    ]


def _batch_norm_rows(theirs: str, ours: str) -> list[TensorRule]:
    return [
        *norm_rows(theirs, ours),
        TensorRule(f"{theirs}.running_mean", f"{ours}.mean", SAME),
        TensorRule(f"{theirs}.running_var", f"{ours}.variance", SAME),
    ]


_BLOCK, _OURS = "vision_model.encoder.blocks.{}", "vision.blocks.{}"
ALIGN_ROWS: tuple[TensorRule, ...] = (
    TensorRule("vision_model.embeddings.convolution.weight", "vision.stem.kernel", PATCH),
    *_batch_norm_rows("vision_model.embeddings.batchnorm", "vision.stem_norm"),
    TensorRule(f"{_BLOCK}.expansion.expand_conv.weight", f"{_OURS}.expand.kernel", _POINTWISE),
    *_batch_norm_rows(f"{_BLOCK}.expansion.expand_bn", f"{_OURS}.expand_norm"),
    TensorRule(
        f"{_BLOCK}.depthwise_conv.depthwise_conv.weight", f"{_OURS}.depthwise.window", _DEPTHWISE
    ),
    *_batch_norm_rows(f"{_BLOCK}.depthwise_conv.depthwise_norm", f"{_OURS}.depthwise_norm"),
    *_gate_rows(f"{_BLOCK}.squeeze_excite.reduce", f"{_OURS}.squeeze.reduce"),
    *_gate_rows(f"{_BLOCK}.squeeze_excite.expand", f"{_OURS}.squeeze.expand"),
    TensorRule(f"{_BLOCK}.projection.project_conv.weight", f"{_OURS}.project.kernel", _POINTWISE),
    *_batch_norm_rows(f"{_BLOCK}.projection.project_bn", f"{_OURS}.project_norm"),
    *bert_rows("text_model", "layer"),
    *linear_rows("text_projection", "text.projection"),
    TensorRule("temperature", "logit_scale", _TEMPERATURE),
)

# Counters, and the pooler that BERT's class brings along but ALIGN never reads.
ALIGN_IGNORED: tuple[str, ...] = (
    r"vision_model\..*\.num_batches_tracked",
    r"text_model\.embeddings\.(position_ids|token_type_ids)",
    r"text_model\.pooler\.dense\.(weight|bias)",
)
