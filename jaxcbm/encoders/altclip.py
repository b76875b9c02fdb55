"""AltCLIP: CLIP's image tower beside a multilingual RoBERTa, for phrases in many languages.

Reference: Chen et al., AltCLIP: Altering the Language Encoder in CLIP for Extended Language
Capabilities, 2022, arXiv 2211.06679.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.altclip_config import AltClipConfig
from jaxcbm.encoders.bert import Bert, Intermediates
from jaxcbm.encoders.clip import VisionTower
from jaxcbm.encoders.layers import LayerNorm, Linear, unit_norm


class TextTower(nnx.Module):
    """RoBERTa, one more norm, and two linear layers over the first token."""

    def __init__(self, config: AltClipConfig, rngs: nnx.Rngs):
        inner, between = config.text.width, config.text_width
        self.bert = Bert(config.text, rngs)
        self.final_norm = LayerNorm(inner, config.text.eps)
        self.transformation = Linear(inner, between, std=inner**-0.5, rngs=rngs)
        self.projection = Linear(
            between, config.embed_dim, std=between**-0.5, rngs=rngs, bias=False
        )

    def __call__(
        self, ids_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        x_BxTxC, out = self.bert(ids_BxT, dtype)
        out["pooled"] = self.transformation(self.final_norm(x_BxTxC[:, 0]), dtype)
        out["projected"] = self.projection(out["pooled"], dtype)
        return unit_norm(out["projected"]), out


class AltClip(nnx.Module):
    """The dual encoder: `encode_image`, `encode_text`, and the logit scale (stored as a log).

    Args:
        config: sizes of both towers.
        rngs: stream `params` draws the initial weights.

    >>> from jaxcbm.flat_params import abstract
    >>> config = AltClipConfig.from_hf({})
    >>> graph, params = abstract(lambda: AltClip(config, rngs=nnx.Rngs(0)))
    >>> params["text.bert.tokens"].shape, params["text.transformation.kernel"].shape
    ((250002, 1024), (1024, 768))
    """

    def __init__(self, config: AltClipConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vision = VisionTower(config.vision, config.embed_dim, rngs)
        self.text = TextTower(config, rngs)
        self.logit_scale = nnx.Param(jnp.float32(config.logit_scale_init))

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
