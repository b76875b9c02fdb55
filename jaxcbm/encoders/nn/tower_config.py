"""Sizes of transformer towers, and their names in Hugging Face's config.json."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, get_type_hints

from jaxcbm.encoders.checkpoint.hf_config import require_rgb, scalar
from jaxcbm.encoders.json_file import Layers, Pixels, Size
from jaxcbm.encoders.nn.layers import check_activation
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Range

# What may be added to a variance.
Eps = Annotated[float, Range(0, 1, above=True)]


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """Sizes that transformers for images and for texts have in common.

    Attributes:
        width: C, channels of the residual stream.
        mlp_width: channels inside the MLP.
        layers: number of blocks.
        heads: attention heads of a block; they divide the width.
        activation: key of `ACTIVATIONS`.
        eps: added to the variance by the layer norms.
        hf_names: field -> key of a section of config.json, for the fields that have one.
    """

    width: Size
    mlp_width: Size
    layers: Layers
    heads: Size
    activation: str = "quick_gelu"
    eps: Eps = 1e-5

    hf_names: ClassVar[dict[str, str]] = {
        "width": "hidden_size",
        "mlp_width": "intermediate_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "activation": "hidden_act",
        "eps": "layer_norm_eps",
    }

    def __post_init__(self):
        if self.width % self.heads:
            raise UserError(
                f"config.json: width {self.width} is not a multiple of {self.heads} heads"
            )
        check_activation(self.activation)

    @classmethod
    def from_hf(cls, section: Any, **others: Any) -> Self:
        """Read the `text_config` or `vision_config` of what `read_hf_config` returns.

        Args:
            section: holds the keys of `hf_names`.
            others: the fields that have no key there.

        Raises:
            UserError: sizes that no such tower can have.
        """
        kinds = get_type_hints(cls, include_extras=True)
        sizes = {
            ours: scalar(section, theirs, kinds[ours]) for ours, theirs in cls.hf_names.items()
        }
        return cls(**sizes, **others)

    def to_hf(self) -> dict[str, Any]:
        """The keys of a section that transformers reads as the same tower."""
        return {theirs: getattr(self, ours) for ours, theirs in self.hf_names.items()}


@dataclass(frozen=True, kw_only=True)
class VisionConfig(TowerConfig):
    """Sizes of a vision transformer for RGB pictures.

    Attributes:
        image_size: height and width of the pictures, in pixels.
        patch_size: height and width of a patch, in pixels.
    """

    image_size: Pixels
    patch_size: Pixels

    hf_names = TowerConfig.hf_names | {"image_size": "image_size", "patch_size": "patch_size"}

    @property
    def grid(self) -> int:
        """Patches along an edge; pixels that fill no patch are dropped."""
        return self.image_size // self.patch_size

    @classmethod
    def from_hf(cls, section: Any, **others: Any) -> Self:
        """Read the `vision_config`, as above; one of other than three channels is refused too."""
        require_rgb(section)
        return super().from_hf(section, **others)

    def to_hf(self) -> dict[str, Any]:
        """The keys of a `vision_config` that transformers reads as the same tower."""
        return {**super().to_hf(), "num_channels": 3}


@dataclass(frozen=True, kw_only=True)
class TextConfig(TowerConfig):
    """Sizes of a transformer over tokens.

    Attributes:
        vocab_size: rows of the token table.
        context_length: T, the most tokens a text can have.
    """

    vocab_size: Size
    context_length: Size

    hf_names = TowerConfig.hf_names | {
        "vocab_size": "vocab_size",
        "context_length": "max_position_embeddings",
    }
