"""Attention, for every tower: on an NVIDIA GPU the fused kernel, elsewhere what is fastest."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.nn.layers import Linear
from jaxcbm.encoders.nn.matmul import product

# What is added to the logits of tokens that must not be seen.
_NEVER = -1e30


def attend(
    q_BxSxHxF: jax.Array,
    k_BxTxHxF: jax.Array,
    v_BxTxHxF: jax.Array,
    *,
    causal: bool = False,
    seen_BxT: jax.Array | None = None,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """Softmax attention of S queries over T tokens.

    Args:
        q_BxSxHxF, k_BxTxHxF, v_BxTxHxF: float32, H heads of width F.
        causal: whether a query sees only tokens up to its own place.
        seen_BxT: bool; False for tokens that no query may see.
        dtype: type of the operands of matrix products, float32 or bfloat16.

    Returns:
        [B, S, H, F] in `dtype`.

    Reference: the fused kernel is that of Dao, FlashAttention-2, 2023, arXiv 2307.08691.

    >>> one = jnp.ones((1, 1, 2, 4))
    >>> bool(jnp.all(attend(one, one, 3 * one) == 3))
    True
    """
    q_BxSxHxF, k_BxTxHxF, v_BxTxHxF = (x.astype(dtype) for x in (q_BxSxHxF, k_BxTxHxF, v_BxTxHxF))
    arrays = q_BxSxHxF, k_BxTxHxF, v_BxTxHxF, seen_BxT
    plain, fused = partial(_plain, causal=causal), partial(_fused, causal=causal)
    masked = seen_BxT is not None
    if _fusable(dtype, q_BxSxHxF.shape, k_BxTxHxF.shape, masked) and _has_fused_kernel():
        # What this process runs on is not always what it compiles for: an export names platforms.
        return jax.lax.platform_dependent(*arrays, cuda=fused, default=plain)
    return plain(*arrays)


def _fusable(
    dtype: Any, queries_BxSxHxF: tuple[int, ...], keys_BxTxHxF: tuple[int, ...], masked: bool
) -> bool:
    """Whether cuDNN has a kernel for arrays of these shapes, forwards and backwards."""
    queries, tokens, width = queries_BxSxHxF[1], *keys_BxTxHxF[1::2]
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float16) or width % 8 or width > 128:
        return False
    return queries > 1 and not (masked and tokens % 2)


@cache
def _has_fused_kernel() -> bool:
    """Whether this process runs on an NVIDIA GPU of the Ampere generation or a later one."""
    device = jax.devices()[0]
    if device.platform != "gpu" or "cuda" not in device.client.platform_version.lower():
        return False
    return float(device.compute_capability) >= 8


def _fused(
    q_BxSxHxF: jax.Array,
    k_BxTxHxF: jax.Array,
    v_BxTxHxF: jax.Array,
    seen_BxT: jax.Array | None,
    *,
    causal: bool,
) -> jax.Array:
    mask_BxHxSxT = None
    if seen_BxT is not None:
        (batch, queries), tokens = q_BxSxHxF.shape[:2], k_BxTxHxF.shape[1]
        mask_BxHxSxT = jnp.broadcast_to(seen_BxT[:, None, None], (batch, 1, queries, tokens))
    return jax.nn.dot_product_attention(
        q_BxSxHxF,
        k_BxTxHxF,
        v_BxTxHxF,
        mask=mask_BxHxSxT,
        is_causal=causal,
        implementation="cudnn",
    )


def _plain(
    q_BxSxHxF: jax.Array,
    k_BxTxHxF: jax.Array,
    v_BxTxHxF: jax.Array,
    seen_BxT: jax.Array | None,
    *,
    causal: bool,
) -> jax.Array:
    # Scaling the queries and dividing the mixture go over S x F numbers a head where scaling the
    # logits and dividing the weights go over S x T; on a CPU that saved a third of the time.
    dtype = q_BxSxHxF.dtype
    scale = jnp.float32(q_BxSxHxF.shape[-1] ** -0.5)
    q_BxSxHxF = (q_BxSxHxF.astype(jnp.float32) * scale).astype(dtype)
    q_BxHxSxF, k_BxHxTxF, v_BxHxTxF = (
        x.transpose(0, 2, 1, 3) for x in (q_BxSxHxF, k_BxTxHxF, v_BxTxHxF)
    )
    logits_BxHxSxT = product("bhsf,bhtf->bhst", q_BxHxSxF, k_BxHxTxF, dtype)
    if causal:
        seen_SxT = jnp.tril(jnp.ones(logits_BxHxSxT.shape[2:], bool))[None, None]
        logits_BxHxSxT = jnp.where(seen_SxT, logits_BxHxSxT, jnp.float32(_NEVER))
    if seen_BxT is not None:
        logits_BxHxSxT = jnp.where(seen_BxT[:, None, None], logits_BxHxSxT, jnp.float32(_NEVER))
    most_BxHxSx1 = jax.lax.stop_gradient(jnp.max(logits_BxHxSxT, axis=-1, keepdims=True))
    weights_BxHxSxT = jnp.exp(logits_BxHxSxT - most_BxHxSx1)
    total_BxHxSx1 = jnp.sum(weights_BxHxSxT, axis=-1, keepdims=True)
    mixed_BxHxSxF = product("bhst,bhtf->bhsf", weights_BxHxSxT, v_BxHxTxF, dtype)
    return (mixed_BxHxSxF / total_BxHxSx1).transpose(0, 2, 1, 3).astype(dtype)


class Attention(nnx.Module):
    """Multi-head self-attention; the head count comes from the config and is never guessed."""

    def __init__(self, width: int, heads: int, *, in_std: float, out_std: float, rngs: nnx.Rngs):
        self.heads = heads
        self.q = Linear(width, width, std=in_std, rngs=rngs)
        self.k = Linear(width, width, std=in_std, rngs=rngs)
        self.v = Linear(width, width, std=in_std, rngs=rngs)
        self.out = Linear(width, width, std=out_std, rngs=rngs)

    def __call__(
        self,
        x_MxC: jax.Array,
        tokens: int,
        *,
        causal: bool,
        seen_BxT: jax.Array | None = None,
        dtype: Any = jnp.float32,
    ) -> jax.Array:
        """Mix the tokens of each row; `seen_BxT` is false for those that none may attend to."""
        width = x_MxC.shape[-1]
        split = (-1, tokens, self.heads, width // self.heads)
        q_BxTxHxF, k_BxTxHxF, v_BxTxHxF = (
            linear(x_MxC, dtype).reshape(split) for linear in (self.q, self.k, self.v)
        )
        mixed_BxTxHxF = attend(
            q_BxTxHxF, k_BxTxHxF, v_BxTxHxF, causal=causal, seen_BxT=seen_BxT, dtype=dtype
        )
        return self.out(mixed_BxTxHxF.reshape(-1, width), dtype)

    def values(self, x_MxC: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """What each token gives to a query that attends to it alone."""
        return self.out(self.v(x_MxC, dtype), dtype)
