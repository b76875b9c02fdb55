"""The kinds of checkpoint that can be read, and what each of them brings."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from jaxcbm.encoders.align.config import AlignConfig
from jaxcbm.encoders.align.model import make_align
from jaxcbm.encoders.align.weights import ALIGN_IGNORED, ALIGN_ROWS
from jaxcbm.encoders.altclip.config import AltClipConfig
from jaxcbm.encoders.altclip.model import make_altclip
from jaxcbm.encoders.altclip.weights import ALTCLIP_IGNORED, ALTCLIP_ROWS
from jaxcbm.encoders.bert.tokenizer import bert_tokenizer, roberta_tokenizer
from jaxcbm.encoders.checkpoint.convert import TensorRule
from jaxcbm.encoders.checkpoint.tensor_files import HUGGING_FACE_WEIGHTS, Tensors
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import make_clip
from jaxcbm.encoders.clip.tokenizer import clip_tokenizer, open_clip_tokenizer
from jaxcbm.encoders.clip.weights import CLIP_IGNORED, CLIP_ROWS
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.open_clip.config import open_clip_preprocess, open_clip_sizes
from jaxcbm.encoders.open_clip.weights import (
    OPEN_CLIP_IGNORED,
    OPEN_CLIP_ROWS,
    OPEN_CLIP_WEIGHTS,
    open_clip_names,
)
from jaxcbm.encoders.siglip.config import SiglipConfig
from jaxcbm.encoders.siglip.model import make_siglip
from jaxcbm.encoders.siglip.tokenizer import siglip_tokenizer
from jaxcbm.encoders.siglip.weights import SIGLIP_IGNORED, SIGLIP_ROWS
from jaxcbm.encoders.tokenizer import Tokenizer


class EncoderFamily(NamedTuple):
    """What it takes to read one kind of checkpoint.

    Attributes:
        config: content of the configuration file -> sizes, with `vision.image_size` and
            `embed_dim`; CLIP's, which is what pre-training saves, has `to_hf`.
        model: sizes and random streams -> module with `encode_image`, `encode_text`, a parameter
            `logit_scale` (the log of s) and, where the family has one, `logit_bias`.
        rows: the weight table.
        ignored: names of tensors that carry no weight.
        tokenizer: folder and sizes -> tokenizer, checked against the sizes.
        preprocess: folder -> how pictures enter.
        weights: files that may hold the weights, best first.
        rename: the tensors of those files -> the same under the names of the weight table.
    """

    config: Callable[[Mapping[str, Any]], Any]
    model: Callable[..., nnx.Module]
    rows: tuple[TensorRule, ...]
    ignored: tuple[str, ...]
    tokenizer: Callable[[Path, Any], Tokenizer]
    preprocess: Callable[[Path], Preprocess] = Preprocess.from_folder
    weights: tuple[str, ...] = HUGGING_FACE_WEIGHTS
    rename: Callable[[Tensors], Tensors] | None = None


# By `model_type` of config.json; open_clip's files have another name and no type.
FAMILIES: dict[str, EncoderFamily] = {
    "clip": EncoderFamily(ClipConfig.from_hf, make_clip, CLIP_ROWS, CLIP_IGNORED, clip_tokenizer),
    "siglip": EncoderFamily(
        SiglipConfig.from_hf, make_siglip, SIGLIP_ROWS, SIGLIP_IGNORED, siglip_tokenizer
    ),
    "open_clip": EncoderFamily(
        open_clip_sizes,
        make_clip,
        OPEN_CLIP_ROWS,
        OPEN_CLIP_IGNORED,
        open_clip_tokenizer,
        preprocess=open_clip_preprocess,
        weights=OPEN_CLIP_WEIGHTS,
        rename=open_clip_names,
    ),
    "altclip": EncoderFamily(
        AltClipConfig.from_hf, make_altclip, ALTCLIP_ROWS, ALTCLIP_IGNORED, roberta_tokenizer
    ),
    "align": EncoderFamily(
        AlignConfig.from_hf, make_align, ALIGN_ROWS, ALIGN_IGNORED, bert_tokenizer
    ),
}
