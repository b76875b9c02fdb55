"""BERT: a post-norm, bidirectional transformer over tokens, with padding that nothing sees.

Reference: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding, 2018, arXiv 1810.04805.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.bert.config import BertConfig
from jaxcbm.encoders.nn.attention import Attention
from jaxcbm.encoders.nn.blocks import run_blocks
from jaxcbm.encoders.nn.layers import LayerNorm, Mlp, normal
from jaxcbm.encoders.nn.two_towers import Intermediates


class PostNormBlock(nnx.Module):
    """Transformer block that normalises sums and not inputs."""

    def __init__(self, config: BertConfig, rngs: nnx.Rngs):
        width, std = config.width, 0.02
        self.attn = Attention(width, config.heads, in_std=std, out_std=std, rngs=rngs)
        self.attn_norm = LayerNorm(width, config.eps)
        self.mlp = Mlp(
            width, config.mlp_width, config.activation, up_std=std, down_std=std, rngs=rngs
        )
        self.mlp_norm = LayerNorm(width, config.eps)

    def __call__(
        self, x_MxC: jax.Array, real_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> jax.Array:
        tokens = real_BxT.shape[1]
        mixed_MxC = self.attn(x_MxC, tokens, causal=False, seen_BxT=real_BxT, dtype=dtype)
        x_MxC = self.attn_norm(x_MxC + mixed_MxC)
        return self.mlp_norm(x_MxC + self.mlp(x_MxC, dtype))


class Bert(nnx.Module):
    """Tokens to their last states; a projection is the business of the tower around it."""

    def __init__(self, config: BertConfig, rngs: nnx.Rngs):
        width = config.width
        self.config = config
        self.tokens = normal(rngs, (config.vocab_size, width), 0.02)
        self.positions = normal(rngs, (config.positions, width), 0.02)
        self.token_types = normal(rngs, (config.token_types, width), 0.02)
        self.norm = LayerNorm(width, config.eps)
        self.blocks = nnx.List([PostNormBlock(config, rngs) for _ in range(config.layers)])

    def __call__(
        self, ids_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        """Token ids, filled up with the padding id -> float32 [B, T, C], and intermediates."""
        real_BxT = ids_BxT != self.config.pad_id
        x_BxTxC = jnp.take(self.tokens[...], ids_BxT, axis=0)
        x_BxTxC = x_BxTxC + self.token_types[...][0][None, None]
        x_BxTxC = x_BxTxC + jnp.take(self.positions[...], self._places(real_BxT), axis=0)
        x_MxC = self.norm(x_BxTxC.reshape(-1, self.config.width))

        out: Intermediates = {"stem": x_MxC.reshape(x_BxTxC.shape)}
        return run_blocks(self.blocks, out["stem"], out, real_BxT, dtype), out

    def _places(self, real_BxT: jax.Array) -> jax.Array:
        """Row of the position table for each token."""
        if self.config.after_padding:
            return positions_after_padding(real_BxT, self.config.pad_id)
        return jnp.broadcast_to(jnp.arange(real_BxT.shape[1])[None], real_BxT.shape)


def positions_after_padding(real_BxT: jax.Array, pad_id: int) -> jax.Array:
    """RoBERTa's count of positions: from `pad_id + 1` over real tokens, `pad_id` for the others.

    >>> positions_after_padding(jnp.asarray([[True, True, False]]), 1).tolist()
    [[2, 3, 1]]
    """
    real_BxT = real_BxT.astype(jnp.int32)
    return jnp.cumsum(real_BxT, axis=1) * real_BxT + jnp.int32(pad_id)
