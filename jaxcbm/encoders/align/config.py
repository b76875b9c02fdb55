"""Sizes of an ALIGN model, read from Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.align.efficientnet_config import EfficientNetConfig
from jaxcbm.encoders.bert.config import BertConfig
from jaxcbm.encoders.checkpoint.hf_config import read_hf_config, scalar
from jaxcbm.encoders.json_file import Size
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Positive


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """Sizes of both towers, of the space they share, and the initial temperature.

    Attributes:
        vision: the image tower, an EfficientNet.
        text: the text tower, a BERT.
        embed_dim: E, the width of the shared space, which is that of the image tower.
        temperature_init: what cosines are divided by at first, above 0.

    >>> config = AlignConfig.from_hf({"model_type": "align"})
    >>> config.embed_dim, len(config.vision.blocks), config.text.context_length
    (640, 55, 512)
    """

    vision: EfficientNetConfig
    text: BertConfig
    embed_dim: int
    temperature_init: float = 1.0

    def __post_init__(self):
        if self.vision.output_width != self.embed_dim:
            raise UserError(
                f"config.json: the image tower ends in {self.vision.output_width} channels but "
                f"projection_dim is {self.embed_dim}; ALIGN compares them without a projection"
            )

    @classmethod
    def from_hf(cls, content: Mapping[str, Any]) -> "AlignConfig":
        """Read the content of a config.json.

        Raises:
            UserError: a size no ALIGN can have.
        """
        config = read_hf_config("align", content)
        return cls(
            vision=EfficientNetConfig.from_hf(config.vision_config),
            text=BertConfig.from_hf(config.text_config, after_padding=False),
            embed_dim=scalar(config, "projection_dim", Size),
            temperature_init=scalar(config, "temperature_init_value", Positive),
        )
