"""CLIP: two pre-norm transformers, for images and texts, that meet in one space.

Reference: Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
2021, arXiv 2103.00020.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.nn.attention import Attention
from jaxcbm.encoders.nn.blocks import run_blocks
from jaxcbm.encoders.nn.layers import LayerNorm, Linear, Mlp, normal, patch_rows, unit_norm
from jaxcbm.encoders.nn.tower_config import TowerConfig, VisionConfig
from jaxcbm.encoders.nn.two_towers import Intermediates, TwoTowers

# The id that means "the position of the highest id" instead of an end-of-text token: the first
# conversions of CLIP carried it by mistake, and checkpoints in the wild still do.
LEGACY_END_OF_TEXT = 2


class PreNormBlock(nnx.Module):
    """Pre-norm transformer block, initialised as CLIP does (deeper towers start gentler)."""

    def __init__(self, config: TowerConfig, rngs: nnx.Rngs):
        width, eps = config.width, config.eps
        shallow_std = width**-0.5
        deep_std = shallow_std * (2 * config.layers) ** -0.5
        self.norm1 = LayerNorm(width, eps)
        self.attn = Attention(width, config.heads, in_std=deep_std, out_std=shallow_std, rngs=rngs)
        self.norm2 = LayerNorm(width, eps)
        self.mlp = Mlp(
            width,
            config.mlp_width,
            config.activation,
            up_std=(2 * width) ** -0.5,
            down_std=deep_std,
            rngs=rngs,
        )

    def __call__(
        self, x_MxC: jax.Array, tokens: int, *, causal: bool, dtype: Any = jnp.float32
    ) -> jax.Array:
        x_MxC = x_MxC + self.attn(self.norm1(x_MxC), tokens, causal=causal, dtype=dtype)
        return x_MxC + self.mlp(self.norm2(x_MxC), dtype)


class ClipVisionTower(nnx.Module):
    """Vision transformer: square patches, a class token, and a projection of that token."""

    def __init__(self, config: VisionConfig, embed_dim: int, rngs: nnx.Rngs):
        width = config.width
        self.config = config
        self.patch = Linear(3 * config.patch_size**2, width, std=0.02, rngs=rngs, bias=False)
        self.class_token = normal(rngs, (width,), width**-0.5)
        self.positions = normal(rngs, (config.grid**2 + 1, width), 0.02)
        self.pre_norm = LayerNorm(width, config.eps)
        self.blocks = nnx.List([PreNormBlock(config, rngs) for _ in range(config.layers)])
        self.post_norm = LayerNorm(width, config.eps)
        self.projection = Linear(width, embed_dim, std=width**-0.5, rngs=rngs, bias=False)

    def __call__(
        self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        out: Intermediates = {}
        x_BxTxC = self._stem(pixels_BxHxWx3, out, dtype)
        tokens = x_BxTxC.shape[1]
        x_BxTxC = run_blocks(self.blocks, x_BxTxC, out, tokens, causal=False, dtype=dtype)
        out["pooled"] = self.post_norm(x_BxTxC[:, 0])
        out["projected"] = self.projection(out["pooled"], dtype)
        return unit_norm(out["projected"]), out

    def encode_patches(self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """See `TwoTowers.encode_patches`; the class token's last attention goes to one patch."""
        width, grid = self.config.width, self.config.grid
        x_BxTxC = self._stem(pixels_BxHxWx3, {}, dtype)
        tokens, last = x_BxTxC.shape[1], self.blocks[-1]
        before = list(self.blocks)[:-1]
        x_BxTxC = run_blocks(before, x_BxTxC, {}, tokens, causal=False, dtype=dtype)
        class_Bx1xC, x_BxPxC = x_BxTxC[:, :1], x_BxTxC[:, 1:]
        values_MxC = last.attn.values(last.norm1(x_BxPxC.reshape(-1, width)), dtype)
        # The class token keeps what it knows of the whole picture: on the birds such maps point at
        # the part twice as often as with the patch's own state in its place.
        x_MxC = (class_Bx1xC + values_MxC.reshape(x_BxPxC.shape)).reshape(-1, width)
        x_MxC = x_MxC + last.mlp(last.norm2(x_MxC), dtype)
        projected_MxE = self.projection(self.post_norm(x_MxC), dtype)
        return unit_norm(projected_MxE).reshape(-1, grid, grid, projected_MxE.shape[-1])

    def _stem(self, pixels_BxHxWx3: jax.Array, out: Intermediates, dtype: Any) -> jax.Array:
        """What the first block reads, [B, 1 + P, C]."""
        batch, width, grid = pixels_BxHxWx3.shape[0], self.config.width, self.config.grid
        rows_MxF = patch_rows(pixels_BxHxWx3, grid, self.config.patch_size)
        patches_BxPxC = self.patch(rows_MxF, dtype)
        patches_BxPxC = patches_BxPxC.reshape(batch, grid**2, width)
        class_Bx1xC = jnp.broadcast_to(self.class_token[...][None, None], (batch, 1, width))
        x_BxTxC = jnp.concatenate([class_Bx1xC, patches_BxPxC], axis=1)
        out["stem"] = x_BxTxC + self.positions[...][None]
        return self.pre_norm(out["stem"].reshape(-1, width)).reshape(x_BxTxC.shape)


class ClipTextTower(nnx.Module):
    """Causal transformer over tokens, pooled at the end of the text.

    Attributes:
        causal: whether a token sees only those before it.
        bias: whether the projection has one.
    """

    causal = True
    bias = False

    def __init__(self, config: Any, embed_dim: int, rngs: nnx.Rngs):
        width = config.width
        self.config = config
        self.tokens = normal(rngs, (config.vocab_size, width), 0.02)
        self.positions = normal(rngs, (config.context_length, width), 0.01)
        self.blocks = nnx.List([PreNormBlock(config, rngs) for _ in range(config.layers)])
        self.final_norm = LayerNorm(width, config.eps)
        self.projection = Linear(width, embed_dim, std=width**-0.5, rngs=rngs, bias=self.bias)

    def __call__(
        self, ids_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        tokens = ids_BxT.shape[1]
        x_BxTxC = jnp.take(self.tokens[...], ids_BxT, axis=0)
        x_BxTxC = x_BxTxC + self.positions[...][None, :tokens]

        out: Intermediates = {"stem": x_BxTxC}
        x_BxTxC = run_blocks(self.blocks, x_BxTxC, out, tokens, causal=self.causal, dtype=dtype)
        out["pooled"] = self.final_norm(self.pool(x_BxTxC, ids_BxT))
        out["projected"] = self.projection(out["pooled"], dtype)
        return unit_norm(out["projected"]), out

    def pool(self, x_BxTxC: jax.Array, ids_BxT: jax.Array) -> jax.Array:
        """The state that stands for the whole text, [B, C]."""
        end_B = end_of_text(ids_BxT, self.config.end_of_text_id)
        return jnp.take_along_axis(x_BxTxC, end_B[:, None, None], axis=1)[:, 0]


def end_of_text(ids_BxT: jax.Array, end_of_text_id: int) -> jax.Array:
    """Position [B] of the token that stands for the whole text.

    `end_of_text_id` is the config's `eos_token_id`; 2 is the legacy value and means the first
    position of the highest id, any other value the first position of that id.

    >>> end_of_text(jnp.asarray([[5, 9, 7, 7]]), 7).tolist()
    [2]
    >>> end_of_text(jnp.asarray([[5, 9, 7, 7]]), 2).tolist()
    [1]
    """
    if end_of_text_id == LEGACY_END_OF_TEXT:
        return jnp.argmax(ids_BxT, axis=-1)
    return jnp.argmax(ids_BxT == end_of_text_id, axis=-1)


def make_clip(config: ClipConfig, *, rngs: nnx.Rngs) -> TwoTowers:
    """CLIP with fresh weights.

    >>> from jaxcbm.encoders.clip.config import ClipConfig
    >>> from jaxcbm.flat_params import abstract
    >>> config = ClipConfig.tiny(vocab_size=64)
    >>> graph, params = abstract(lambda: make_clip(config, rngs=nnx.Rngs(0)))
    >>> params["text.tokens"].shape, params["vision.blocks.3.attn.q.kernel"].shape
    ((64, 128), (128, 128))
    """
    return TwoTowers(
        config,
        ClipVisionTower(config.vision, config.embed_dim, rngs),
        ClipTextTower(config.text, config.embed_dim, rngs),
        config.logit_scale_init,
    )
