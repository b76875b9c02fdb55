"""Sizes of an AltCLIP model, read from Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.bert.config import BertConfig
from jaxcbm.encoders.checkpoint.hf_config import read_hf_config, scalar
from jaxcbm.encoders.json_file import Size
from jaxcbm.encoders.nn.tower_config import VisionConfig


@dataclass(frozen=True, kw_only=True)
class AltClipConfig:
    """Sizes of both towers and of what joins them.

    Attributes:
        vision: the image tower, which is CLIP's.
        text: the text tower, a RoBERTa.
        text_width: what the text tower's states are transformed to before their projection.
        embed_dim: E, the width of the shared space.
        logit_scale_init: initial log of the logit scale.

    >>> config = AltClipConfig.from_hf({"model_type": "altclip"})
    >>> config.text.width, config.text_width, config.embed_dim
    (1024, 768, 768)
    >>> config.text.positions, config.text.context_length
    (514, 512)
    """

    vision: VisionConfig
    text: BertConfig
    text_width: int
    embed_dim: int
    logit_scale_init: float = 2.6592

    @classmethod
    def from_hf(cls, content: Mapping[str, Any]) -> "AltClipConfig":
        """Read the content of a config.json.

        Raises:
            UserError: a size no AltCLIP can have.
        """
        config = read_hf_config("altclip", content)
        return cls(
            vision=VisionConfig.from_hf(config.vision_config),
            text=BertConfig.from_hf(config.text_config, after_padding=True),
            text_width=scalar(config.text_config, "project_dim", Size),
            embed_dim=scalar(config, "projection_dim", Size),
            logit_scale_init=scalar(config, "logit_scale_init_value", float),
        )
