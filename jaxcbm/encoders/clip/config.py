"""Sizes of a CLIP model, read from and written to Hugging Face's config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxcbm.encoders.nn.layers import ACTIVATIONS
from jaxcbm.errors import UserError

# What a config.json that leaves a key out means by it.
_TEXT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
VISION_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """What both towers have: width, MLP width, layers, heads, activation and the norms' epsilon."""

    width: int
    mlp_width: int
    layers: int
    heads: int
    activation: str = "quick_gelu"
    eps: float = 1e-5

    def __post_init__(self):
        if self.width % self.heads:
            raise UserError(
                f"config.json: width {self.width} is not a multiple of {self.heads} heads"
            )
        if self.activation not in ACTIVATIONS:
            raise UserError(
                f"config.json: unknown activation {self.activation!r} "
                f"(supported: {', '.join(ACTIVATIONS)})"
            )


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """Image tower: square pictures of `image_size` pixels in patches of `patch_size`."""

    image_size: int
    patch_size: int

    @property
    def grid(self) -> int:
        """Patches along an edge; pixels that fill no patch are dropped."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """Text tower: `end_of_text_id` 2 is the legacy value, see `jaxcbm.encoders.clip.model`."""

    vocab_size: int
    context_length: int
    start_of_text_id: int
    end_of_text_id: int


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Both towers, the shared embedding width, and the initial log of the logit scale.

    >>> config = ClipConfig.from_hf({"model_type": "clip"})
    >>> config.vision.width, config.text.width, config.embed_dim
    (768, 512, 512)
    """

    vision: VisionConfig
    text: TextConfig
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
            text=TextConfig(
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
    def from_hf(cls, config: Mapping[str, Any]) -> "ClipConfig":
        """Read the content of a config.json.

        Args:
            config: the parsed file; `text_config_dict` and `vision_config_dict` win over their
                twins, as they do in transformers.

        Raises:
            UserError: a size no CLIP can have.
        """
        text = section(config, "text_config", _TEXT_DEFAULTS)
        vision = section(config, "vision_config", VISION_DEFAULTS)
        if vision["num_channels"] != 3:
            raise UserError(f"config.json: {vision['num_channels']} image channels; CLIP needs 3")
        return cls(
            vision=VisionConfig(
                **tower_sizes(vision),
                image_size=single(vision, "image_size"),
                patch_size=single(vision, "patch_size"),
            ),
            text=TextConfig(
                **tower_sizes(text),
                vocab_size=text["vocab_size"],
                context_length=text["max_position_embeddings"],
                start_of_text_id=text["bos_token_id"],
                end_of_text_id=single(text, "eos_token_id"),
            ),
            embed_dim=config.get("projection_dim", 512),
            logit_scale_init=float(config.get("logit_scale_init_value", 2.6592)),
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
                **hf_tower(self.text),
                "projection_dim": self.embed_dim,
                "vocab_size": self.text.vocab_size,
                "max_position_embeddings": self.text.context_length,
                "bos_token_id": self.text.start_of_text_id,
                "eos_token_id": self.text.end_of_text_id,
                "pad_token_id": self.text.end_of_text_id,
            },
            "vision_config": {
                "model_type": "clip_vision_model",
                **hf_tower(self.vision),
                "projection_dim": self.embed_dim,
                "num_channels": 3,
                "image_size": self.vision.image_size,
                "patch_size": self.vision.patch_size,
            },
        }


def section(config: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One tower's keys with defaults filled in; the `_dict` twin overrides, its defaults too."""
    override = config.get(f"{name}_dict")
    chosen = override if override is not None else config.get(name) or {}
    return {**defaults, **chosen}


def single(section: Mapping[str, Any], key: str) -> int:
    """A whole number, which may stand in a list of equal ones."""
    value = section[key]
    values = set(value) if isinstance(value, list | tuple) else {value}
    if len(values) != 1 or not isinstance(found := values.pop(), int):
        raise UserError(f"config.json: {key} is {value!r}; one whole number is needed")
    return found


def tower_sizes(section: Mapping[str, Any]) -> dict[str, Any]:
    """What `TowerConfig` holds, from Hugging Face's names for it."""
    return {
        "width": section["hidden_size"],
        "mlp_width": section["intermediate_size"],
        "layers": section["num_hidden_layers"],
        "heads": section["num_attention_heads"],
        "activation": section["hidden_act"],
        "eps": section["layer_norm_eps"],
    }


def hf_tower(tower: TowerConfig) -> dict[str, Any]:
    """What `TowerConfig` holds, under Hugging Face's names for it."""
    return {
        "hidden_size": tower.width,
        "intermediate_size": tower.mlp_width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "hidden_act": tower.activation,
        "layer_norm_eps": tower.eps,
    }
