"""Sizes of a CLIP model, read from and written to Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.checkpoint.hf_config import read_hf_config, scalar
from jaxcbm.encoders.json_file import Size
from jaxcbm.encoders.nn.tower_config import TextConfig, VisionConfig
from jaxcbm.typed_json import Whole


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig(TextConfig):
    """Sizes of CLIP's causal text tower.

    Attributes:
        start_of_text_id: the token before every text.
        end_of_text_id: the token behind every text, where it is pooled; 2 is the legacy value, see
            `jaxcbm.encoders.clip.model`.
    """

    start_of_text_id: Whole
    end_of_text_id: Whole

    hf_names = TextConfig.hf_names | {
        "start_of_text_id": "bos_token_id",
        "end_of_text_id": "eos_token_id",
    }


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Sizes of both towers and of the space they share.

    Attributes:
        vision: the image tower.
        text: the text tower.
        embed_dim: E, the width of the shared space.
        logit_scale_init: initial log of the logit scale.

    >>> config = ClipConfig.from_hf({"model_type": "clip"})
    >>> config.vision.width, config.text.width, config.embed_dim
    (768, 512, 512)
    """

    vision: VisionConfig
    text: ClipTextConfig
    embed_dim: int
    logit_scale_init: float = 2.6592

    @classmethod
    def tiny(
        cls,
        *,
        vocab_size: int,
        image_size: int = 64,
        patch_size: int = 8,
        width: int = 128,
        layers: int = 4,
        text_layers: int = 2,
        context_length: int = 48,
        embed_dim: int = 128,
    ) -> "ClipConfig":
        """A model of about a million weights for pictures of 64 pixels.

        The tokenizer of `train_tokenizer` numbers its two special tokens last, as CLIP's does.
        """
        heads, mlp_width = max(1, width // 32), 4 * width
        return cls(
            vision=VisionConfig(
                width=width,
                mlp_width=mlp_width,
                layers=layers,
                heads=heads,
                image_size=image_size,
                patch_size=patch_size,
            ),
            text=ClipTextConfig(
                width=width,
                mlp_width=mlp_width,
                layers=text_layers,
                heads=heads,
                vocab_size=vocab_size,
                context_length=context_length,
                start_of_text_id=vocab_size - 2,
                end_of_text_id=vocab_size - 1,
            ),
            embed_dim=embed_dim,
        )

    @classmethod
    def from_hf(cls, content: Mapping[str, Any]) -> "ClipConfig":
        """Read the content of a config.json.

        Raises:
            UserError: a size no CLIP can have.
        """
        config = read_hf_config("clip", content)
        return cls(
            vision=VisionConfig.from_hf(config.vision_config),
            text=ClipTextConfig.from_hf(config.text_config),
            embed_dim=scalar(config, "projection_dim", Size),
            logit_scale_init=scalar(config, "logit_scale_init_value", float),
        )

    def to_hf(self) -> dict[str, Any]:
        """The content of a config.json that transformers reads as the same model."""
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": self.embed_dim,
            "logit_scale_init_value": self.logit_scale_init,
            "initializer_factor": 1.0,
            "text_config": {
                "model_type": "clip_text_model",
                **self.text.to_hf(),
                "projection_dim": self.embed_dim,
                "pad_token_id": self.text.end_of_text_id,
            },
            "vision_config": {
                "model_type": "clip_vision_model",
                **self.vision.to_hf(),
                "projection_dim": self.embed_dim,
            },
        }
