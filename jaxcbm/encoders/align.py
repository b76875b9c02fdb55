"""ALIGN: an EfficientNet and a BERT that meet in the space of the EfficientNet's pooled map.

Reference: Jia et al., Scaling Up Visual and Vision-Language Representation Learning With Noisy
Text Supervision, 2021, arXiv 2102.05918.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.align_config import AlignConfig
from jaxcbm.encoders.bert import Bert, Intermediates
from jaxcbm.encoders.efficientnet import EfficientNet
from jaxcbm.encoders.layers import Linear, unit_norm


class TextTower(nnx.Module):
    """BERT and a projection of its first token; its own pooler is not used."""

    def __init__(self, config: AlignConfig, rngs: nnx.Rngs):
        width = config.text.width
        self.bert = Bert(config.text, rngs)
        self.projection = Linear(width, config.embed_dim, std=width**-0.5, rngs=rngs)

    def __call__(
        self, ids_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        x_BxTxC, out = self.bert(ids_BxT, dtype)
        out["pooled"] = x_BxTxC[:, 0]
        out["projected"] = self.projection(out["pooled"], dtype)
        return unit_norm(out["projected"]), out


class Align(nnx.Module):
    """The dual encoder: `encode_image`, `encode_text`, and the logit scale.

    The scale is stored as its log like in other families; a checkpoint's temperature becomes it on
    loading, and it the temperature on saving.

    Args:
        config: sizes of both towers.
        rngs: stream `params` draws the initial weights.

    >>> from jaxcbm.flat_params import abstract
    >>> config = AlignConfig.from_hf({})
    >>> graph, params = abstract(lambda: Align(config, rngs=nnx.Rngs(0)))
    >>> params["vision.stem.kernel"].shape, params["vision.blocks.54.project.kernel"].shape
    ((27, 64), (3840, 640))
    """

    def __init__(self, config: AlignConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vision = EfficientNet(config.vision, rngs)
        self.text = TextTower(config, rngs)
        self.logit_scale = nnx.Param(-jnp.log(jnp.float32(config.temperature_init)))

    def encode_image(
        self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        """Embed normalised pictures.

        Args:
            pixels_BxHxWx3: float32, already rescaled and normalised with the mean and deviation.
            dtype: type of the operands of matrix products, float32 or bfloat16.

        Returns:
            float32 [B, E] of unit norm, and the named intermediates: `stem`, `block00`..., `pooled`
            and `projected` (the embedding before normalisation). jit drops those not used.
        """
        return self.vision(pixels_BxHxWx3, dtype)

    def encode_text(
        self, ids_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        """Embed token ids.

        Args:
            ids_BxT: int32, T at most the context length, filled up with the padding id.
            dtype: type of the operands of matrix products, float32 or bfloat16.

        Returns:
            float32 [B, E] of unit norm, and the same named intermediates as `encode_image`.
        """
        return self.text(ids_BxT, dtype)
