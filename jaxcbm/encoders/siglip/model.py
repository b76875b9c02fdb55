"""SigLIP: bidirectional text, pictures pooled by attention, and a bias in the scores.

SigLIP 2 at a fixed resolution is the same model with another tokenizer.

Reference: Zhai et al., Sigmoid Loss for Language Image Pre-Training, 2023, arXiv 2303.15343;
Tschannen et al., SigLIP 2, 2025, arXiv 2502.14786.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.clip.model import ClipTextTower, PreNormBlock
from jaxcbm.encoders.nn.attention import attend
from jaxcbm.encoders.nn.blocks import run_blocks
from jaxcbm.encoders.nn.layers import LayerNorm, Linear, Mlp, normal, patch_rows, unit_norm
from jaxcbm.encoders.nn.matmul import matmul
from jaxcbm.encoders.nn.tower_config import VisionConfig
from jaxcbm.encoders.nn.two_towers import Intermediates, TwoTowers
from jaxcbm.encoders.siglip.config import SiglipConfig

# Where training starts: s = 10 and b = -10, so that the many pairs that do not match weigh little.
_LOGIT_SCALE_INIT = math.log(10.0)
_LOGIT_BIAS_INIT = -10.0


class PoolingHead(nnx.Module):
    """One learnt query that attends to every patch, and an MLP over what it gathered."""

    def __init__(self, config: VisionConfig, rngs: nnx.Rngs):
        width, std = config.width, config.width**-0.5
        self.heads = config.heads
        self.probe = normal(rngs, (width,), std)
        self.qkv = Linear(width, 3 * width, std=std, rngs=rngs)
        self.out = Linear(width, width, std=std, rngs=rngs)
        self.norm = LayerNorm(width, config.eps)
        self.mlp = Mlp(
            width, config.mlp_width, config.activation, up_std=std, down_std=std, rngs=rngs
        )

    def __call__(self, x_MxC: jax.Array, tokens: int, dtype: Any = jnp.float32) -> jax.Array:
        width, heads = x_MxC.shape[-1], self.heads
        assert self.qkv.bias is not None
        kernel_CxF, bias_1xF = self.qkv.kernel[...], self.qkv.bias[...][None]
        # The query is the same for every picture, so it is projected once.
        q_1xC = matmul(self.probe[...][None], kernel_CxF[:, :width], dtype) + bias_1xF[:, :width]
        kv_MxF = matmul(x_MxC, kernel_CxF[:, width:], dtype) + bias_1xF[:, width:]
        kv_BxTxSxHxF = kv_MxF.reshape(-1, tokens, 2, heads, width // heads)
        k_BxTxHxF, v_BxTxHxF = kv_BxTxSxHxF[:, :, 0], kv_BxTxSxHxF[:, :, 1]
        q_BxSxHxF = jnp.broadcast_to(
            q_1xC.reshape(1, 1, heads, -1), (k_BxTxHxF.shape[0], 1, heads, width // heads)
        )
        mixed_BxSxHxF = attend(q_BxSxHxF, k_BxTxHxF, v_BxTxHxF, dtype=dtype)
        # A single row a picture: exact products cost nothing, and no other row evens out an error.
        return self._read(mixed_BxSxHxF.reshape(-1, width), jnp.float32)

    def of_each(self, x_MxC: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """What the head would say if its query attended to one patch alone, [M, C]."""
        width = x_MxC.shape[-1]
        assert self.qkv.bias is not None
        kernel_CxC, bias_1xC = self.qkv.kernel[...][:, -width:], self.qkv.bias[...][None, -width:]
        return self._read(matmul(x_MxC, kernel_CxC, dtype) + bias_1xC, dtype)

    def _read(self, mixed_MxC: jax.Array, dtype: Any) -> jax.Array:
        x_MxC = self.out(mixed_MxC, dtype)
        return x_MxC + self.mlp(self.norm(x_MxC), dtype)


class SiglipVisionTower(nnx.Module):
    """Vision transformer without a class token; its pooled patches are the embedding."""

    def __init__(self, config: VisionConfig, rngs: nnx.Rngs):
        width = config.width
        self.config = config
        self.patch = Linear(3 * config.patch_size**2, width, std=0.02, rngs=rngs)
        self.positions = normal(rngs, (config.grid**2, width), width**-0.5)
        self.blocks = nnx.List([PreNormBlock(config, rngs) for _ in range(config.layers)])
        self.post_norm = LayerNorm(width, config.eps)
        self.head = PoolingHead(config, rngs)

    def __call__(
        self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        out: Intermediates = {}
        x_MxC = self._patches(pixels_BxHxWx3, out, dtype)
        out["pooled"] = out["projected"] = self.head(x_MxC, self.config.grid**2, dtype)
        return unit_norm(out["projected"]), out

    def encode_patches(self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """See `TwoTowers.encode_patches`; the pooling head's attention goes to one patch."""
        pooled_MxE = self.head.of_each(self._patches(pixels_BxHxWx3, {}, dtype), dtype)
        grid = self.config.grid
        return unit_norm(pooled_MxE).reshape(-1, grid, grid, pooled_MxE.shape[-1])

    def _patches(self, pixels_BxHxWx3: jax.Array, out: Intermediates, dtype: Any) -> jax.Array:
        """What the head pools, [B * P, C]."""
        grid, width = self.config.grid, self.config.width
        rows_MxF = patch_rows(pixels_BxHxWx3, grid, self.config.patch_size)
        x_BxTxC = self.patch(rows_MxF, dtype).reshape(-1, grid**2, width)
        out["stem"] = x_BxTxC + self.positions[...][None]
        x_BxTxC = run_blocks(self.blocks, out["stem"], out, grid**2, causal=False, dtype=dtype)
        return self.post_norm(x_BxTxC.reshape(-1, width))


class SiglipTextTower(ClipTextTower):
    """CLIP's, but every token sees every other, padding too; pooled at the last one."""

    causal = False
    bias = True

    def pool(self, x_BxTxC: jax.Array, ids_BxT: jax.Array) -> jax.Array:
        """The state of the last token, [B, C]."""
        return x_BxTxC[:, -1]


def make_siglip(config: SiglipConfig, *, rngs: nnx.Rngs) -> TwoTowers:
    """SigLIP with fresh weights.

    >>> from jaxcbm.flat_params import abstract
    >>> config = SiglipConfig.from_hf({"vision_config": {"patch_size": 32}})
    >>> graph, params = abstract(lambda: make_siglip(config, rngs=nnx.Rngs(0)))
    >>> params["vision.positions"].shape, params["logit_bias"].shape
    ((49, 768), ())
    """
    return TwoTowers(
        config,
        SiglipVisionTower(config.vision, rngs),
        SiglipTextTower(config.text, config.embed_dim, rngs),
        _LOGIT_SCALE_INIT,
        _LOGIT_BIAS_INIT,
    )
