"""Sizes of an AltCLIP model, read from and written to Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.bert.config import ROBERTA_DEFAULTS, BertConfig
from jaxcbm.encoders.clip.config import (
    VISION_DEFAULTS,
    VisionConfig,
    hf_tower,
    section,
    single,
    tower_sizes,
)
from jaxcbm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class AltClipConfig:
    """CLIP's image tower, a RoBERTa text tower, and the widths of what joins them.

    Attributes:
        vision, text: the towers.
        text_width: what the text tower's states are transformed to before their projection.
        embed_dim: E, the width of the shared space.
        logit_scale_init: initial log of the logit scale.

    >>> config = AltClipConfig.from_hf({"model_type": "altclip"})
    >>> config.text.width, config.text_width, config.embed_dim
    (1024, 768, 768)
    """

    vision: VisionConfig
    text: BertConfig
    text_width: int
    embed_dim: int
    logit_scale_init: float = 2.6592

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "AltClipConfig":
        """Read the content of a config.json.

        Args:
            config: the parsed file; `text_config_dict` and `vision_config_dict` win over their
                twins, as they do in transformers.

        Raises:
            UserError: a size no AltCLIP can have.
        """
        text = section(config, "text_config", {**ROBERTA_DEFAULTS, "project_dim": 768})
        vision = section(config, "vision_config", VISION_DEFAULTS)
        if vision["num_channels"] != 3:
            raise UserError(
                f"config.json: {vision['num_channels']} image channels; AltCLIP needs 3"
            )
        return cls(
            vision=VisionConfig(
                **tower_sizes(vision),
                image_size=single(vision, "image_size"),
                patch_size=single(vision, "patch_size"),
            ),
            text=BertConfig.from_hf(text, ROBERTA_DEFAULTS, after_padding=True),
            text_width=text["project_dim"],
            embed_dim=config.get("projection_dim", 768),
            logit_scale_init=float(config.get("logit_scale_init_value", 2.6592)),
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of a config.json that transformers reads as the same model."""
        return {
            "architectures": ["AltCLIPModel"],
            "model_type": "altclip",
            "projection_dim": self.embed_dim,
            "logit_scale_init_value": self.logit_scale_init,
            "text_config": {
                "model_type": "altclip_text_model",
                **self.text.to_hf(),
                "project_dim": self.text_width,
            },
            "vision_config": {
                "model_type": "altclip_vision_model",
                **hf_tower(self.vision),
                "num_channels": 3,
                "image_size": self.vision.image_size,
                "patch_size": self.vision.patch_size,
                "projection_dim": self.embed_dim,
            },
        }
