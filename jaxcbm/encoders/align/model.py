"""ALIGN: an EfficientNet and a BERT that meet in the space of the EfficientNet's pooled map.

Reference: Jia et al., Scaling Up Visual and Vision-Language Representation Learning With Noisy
Text Supervision, 2021, arXiv 2102.05918.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.align.config import AlignConfig
from jaxcbm.encoders.align.efficientnet import EfficientNet
from jaxcbm.encoders.bert.model import Bert
from jaxcbm.encoders.nn.layers import Linear, unit_norm
from jaxcbm.encoders.nn.two_towers import Intermediates, TwoTowers


class AlignTextTower(nnx.Module):
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


def make_align(config: AlignConfig, *, rngs: nnx.Rngs) -> TwoTowers:
    """ALIGN with fresh weights.

    The scale is stored as its log like in other families; a checkpoint's temperature becomes it on
    loading, and it the temperature on saving.

    >>> from jaxcbm.flat_params import abstract
    >>> config = AlignConfig.from_hf({})
    >>> graph, params = abstract(lambda: make_align(config, rngs=nnx.Rngs(0)))
    >>> params["vision.stem.kernel"].shape, params["vision.blocks.54.project.kernel"].shape
    ((27, 64), (3840, 640))
    """
    return TwoTowers(
        config,
        EfficientNet(config.vision, rngs),
        AlignTextTower(config, rngs),
        -jnp.log(jnp.float32(config.temperature_init)),
    )
