"""Sizes of a SigLIP or fixed-resolution SigLIP 2 model, from Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.checkpoint.hf_config import read_hf_config, scalar
from jaxcbm.encoders.json_file import Size
from jaxcbm.encoders.nn.tower_config import TextConfig, VisionConfig
from jaxcbm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SiglipConfig:
    """Sizes of both towers and of the space they share.

    Attributes:
        vision: the image tower, whose pooled patches are not projected.
        text: the text tower; every row of its ids has the context length.
        embed_dim: E, the width of the shared space, which is that of the image tower.

    >>> config = SiglipConfig.from_hf({"model_type": "siglip"})
    >>> config.vision.patch_size, config.text.context_length, config.embed_dim
    (16, 64, 768)
    """

    vision: VisionConfig
    text: TextConfig
    embed_dim: int

    @classmethod
    def from_hf(cls, content: Mapping[str, Any]) -> "SiglipConfig":
        """Read the content of a config.json.

        Raises:
            UserError: a size no SigLIP can have.
        """
        config = read_hf_config("siglip", content)
        vision, text = config.vision_config, config.text_config
        # Some versions of transformers know the field only as one that a file may add.
        if not getattr(vision, "vision_use_head", True):
            raise UserError(
                "config.json: vision_use_head is false, so the image tower pools nothing; take a "
                "checkpoint with its attention-pooling head"
            )
        if text.projection_size != vision.hidden_size:
            raise UserError(
                f"config.json: texts are projected to {text.projection_size} numbers but pictures "
                f"have {vision.hidden_size}; use the config.json these weights came with"
            )
        return cls(
            vision=VisionConfig.from_hf(vision),
            text=TextConfig.from_hf(text),
            embed_dim=scalar(vision, "hidden_size", Size),
        )
