"""AltCLIP: CLIP's image tower beside a multilingual RoBERTa, for phrases in many languages.

Reference: Chen et al., AltCLIP: Altering the Language Encoder in CLIP for Extended Language
Capabilities, 2022, arXiv 2211.06679.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.altclip.config import AltClipConfig
from jaxcbm.encoders.bert.model import Bert
from jaxcbm.encoders.clip.model import ClipVisionTower
from jaxcbm.encoders.nn.layers import LayerNorm, Linear, unit_norm
from jaxcbm.encoders.nn.two_towers import Intermediates, TwoTowers


class AltClipTextTower(nnx.Module):
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


def make_altclip(config: AltClipConfig, *, rngs: nnx.Rngs) -> TwoTowers:
    """AltCLIP with fresh weights.

    >>> from jaxcbm.flat_params import abstract
    >>> config = AltClipConfig.from_hf({})
    >>> graph, params = abstract(lambda: make_altclip(config, rngs=nnx.Rngs(0)))
    >>> params["text.bert.tokens"].shape, params["text.transformation.kernel"].shape
    ((250002, 1024), (1024, 768))
    """
    return TwoTowers(
        config,
        ClipVisionTower(config.vision, config.embed_dim, rngs),
        AltClipTextTower(config, rngs),
        config.logit_scale_init,
    )
