"""Sizes of a SigLIP or fixed-resolution SigLIP 2 model, from and to Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.clip.config import (
    TowerConfig,
    VisionConfig,
    hf_tower,
    section,
    single,
    tower_sizes,
)
from jaxcbm.errors import UserError

# What a config.json that leaves a key out means by it.
_TOWER_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
_TEXT_DEFAULTS = {**_TOWER_DEFAULTS, "vocab_size": 32000, "max_position_embeddings": 64}
_VISION_DEFAULTS = {
    **_TOWER_DEFAULTS,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 16,
    "vision_use_head": True,
}


@dataclass(frozen=True, kw_only=True)
class SiglipTextConfig(TowerConfig):
    """Text tower: every row of ids has `context_length` tokens."""

    vocab_size: int
    context_length: int


@dataclass(frozen=True, kw_only=True)
class SiglipConfig:
    """Both towers; pictures have no projection, so their width is that of the shared space.

    >>> config = SiglipConfig.from_hf({"model_type": "siglip"})
    >>> config.vision.patch_size, config.text.context_length, config.embed_dim
    (16, 64, 768)
    """

    vision: VisionConfig
    text: SiglipTextConfig
    embed_dim: int

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "SiglipConfig":
        """Read the content of a config.json.

        Args:
            config: the parsed file.

        Raises:
            UserError: a size no SigLIP can have.
        """
        text = section(config, "text_config", _TEXT_DEFAULTS)
        vision = section(config, "vision_config", _VISION_DEFAULTS)
        if vision["num_channels"] != 3:
            raise UserError(f"config.json: {vision['num_channels']} image channels; SigLIP needs 3")
        if not vision["vision_use_head"]:
            raise UserError(
                "config.json: vision_use_head is false, so the image tower pools nothing; take a "
                "checkpoint with its attention-pooling head"
            )
        width = text.get("projection_size") or text["hidden_size"]
        if width != vision["hidden_size"]:
            raise UserError(
                f"config.json: texts are projected to {width} numbers but pictures have "
                f"{vision['hidden_size']}; use the config.json these weights came with"
            )
        return cls(
            vision=VisionConfig(
                **tower_sizes(vision),
                image_size=single(vision, "image_size"),
                patch_size=single(vision, "patch_size"),
            ),
            text=SiglipTextConfig(
                **tower_sizes(text),
                vocab_size=text["vocab_size"],
                context_length=text["max_position_embeddings"],
            ),
            embed_dim=width,
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of a config.json that transformers reads as the same model."""
        return {
            "architectures": ["SiglipModel"],
            "model_type": "siglip",
            "initializer_factor": 1.0,
            "text_config": {
                "model_type": "siglip_text_model",
                **hf_tower(self.text),
                "projection_size": self.embed_dim,
                "vocab_size": self.text.vocab_size,
                "max_position_embeddings": self.text.context_length,
            },
            "vision_config": {
                "model_type": "siglip_vision_model",
                **hf_tower(self.vision),
                "num_channels": 3,
                "image_size": self.vision.image_size,
                "patch_size": self.vision.patch_size,
            },
        }
