"""What every family's model is: a tower for pictures and one for phrases that meet in one space."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

Intermediates = dict[str, jax.Array]
Tower = Callable[[jax.Array, Any], tuple[jax.Array, Intermediates]]


class VisionTower(Protocol):
    """A tower for pictures, which can also be asked for their places."""

    def __call__(self, pixels: jax.Array, dtype: Any, /) -> tuple[jax.Array, Intermediates]: ...

    def encode_patches(self, pixels_BxHxWx3: jax.Array, dtype: Any) -> jax.Array: ...


class TwoTowers(nnx.Module):
    """Both towers, the logit scale (stored as its log) and, where there is one, the logit bias.

    Args:
        config: sizes of both towers.
        vision: normalised pixels and compute type -> embeddings and intermediates.
        text: token ids and compute type -> the same.
        logit_scale: log of the factor between cosines and logits.
        logit_bias: what is added to the logits; None for families without one.
    """

    def __init__(
        self,
        config: Any,
        vision: VisionTower,
        text: Tower,
        logit_scale: jax.Array | float,
        logit_bias: float | None = None,
    ):
        self.config = config
        self.vision = vision
        self.text = text
        self.logit_scale = nnx.Param(jnp.asarray(logit_scale, jnp.float32))
        if logit_bias is not None:
            self.logit_bias = nnx.Param(jnp.float32(logit_bias))

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

    def encode_patches(self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """Embed the places of normalised pictures.

        The embedding of a place is what the picture's would be if the last step that mixes places
        (attention, or the pool of a convolutional tower) saw that place alone.

        Args:
            pixels_BxHxWx3: as in `encode_image`.
            dtype: type of the operands of matrix products, float32 or bfloat16.

        Returns:
            float32 [B, H', W', E] of unit norm.

        Reference: Zhou et al., Extract Free Dense Labels from CLIP, 2022, arXiv 2112.01071.
        """
        return self.vision.encode_patches(pixels_BxHxWx3, dtype)

    def encode_text(
        self, ids_BxT: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        """Embed token ids.

        Args:
            ids_BxT: int32, T at most the context length, filled up as the family's tokenizer does:
                CLIP ignores what follows the end of text, BERT and RoBERTa the padding id, and
                SigLIP pools the last position, so that its rows have the full context length.
            dtype: type of the operands of matrix products, float32 or bfloat16.

        Returns:
            float32 [B, E] of unit norm, and the same named intermediates as `encode_image`.
        """
        return self.text(ids_BxT, dtype)
