"""The layers every transformer tower is made of, with products that reach a chip's matrix units.

All of them keep the residual stream, norms and softmax in float32. Only the operands of matrix
products are cast to the compute `dtype`; sums are float32 always, which is what matrix units do and
what keeps bfloat16 embeddings within a cosine of 1e-5 of the float32 ones.

Activations travel as flat rows `x_MxC` with M = B * T, so that every product is one plain matmul.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Activation = Callable[[jax.Array], jax.Array]


def quick_gelu(x: jax.Array) -> jax.Array:
    """CLIP's sigmoid approximation of gelu.

    >>> float(quick_gelu(jnp.float32(0.0)))
    0.0
    """
    return x * jax.nn.sigmoid(jnp.asarray(1.702, x.dtype) * x)


def _gelu_erf(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _gelu_tanh(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Activation] = {
    "quick_gelu": quick_gelu,
    "gelu": _gelu_erf,
    "gelu_python": _gelu_erf,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}


def dot_precision(dtype: Any) -> jax.lax.Precision:
    """How exactly operands of that type are multiplied: float32 ones are never rounded."""
    # Left to itself, a GPU or TPU rounds the operands of float32 products too.
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT


def _dot(x_MxK: jax.Array, w_KxN: jax.Array) -> jax.Array:
    return jnp.matmul(
        x_MxK, w_KxN, precision=dot_precision(x_MxK.dtype), preferred_element_type=jnp.float32
    )


@jax.custom_vjp
def _narrow_dot(x_MxK: jax.Array, w_KxN: jax.Array) -> jax.Array:
    return _dot(x_MxK, w_KxN)


def _narrow_forward(x_MxK: jax.Array, w_KxN: jax.Array):
    return _dot(x_MxK, w_KxN), (x_MxK, w_KxN)


def _narrow_backward(saved: tuple[jax.Array, jax.Array], g_MxN: jax.Array):
    # A float32 cotangent would turn both backward products into float32 ones and miss the matrix
    # units, so it is narrowed to the operands' type, as the forward operands were.
    x_MxK, w_KxN = saved
    g_MxN = g_MxN.astype(x_MxK.dtype)
    return _dot(g_MxN, w_KxN.T).astype(x_MxK.dtype), _dot(x_MxK.T, g_MxN).astype(w_KxN.dtype)


_narrow_dot.defvjp(_narrow_forward, _narrow_backward)


def matmul(x_MxK: jax.Array, w_KxN: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """Matrix product with operands in `dtype` and sums and result in float32, both ways.

    Args:
        x_MxK: float rows.
        w_KxN: float weights.
        dtype: type of the operands, float32 or bfloat16.

    Returns:
        float32 [M, N].

    >>> matmul(jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.bfloat16).dtype.name
    'float32'
    """
    if dtype == jnp.float32:
        return _dot(x_MxK.astype(dtype), w_KxN.astype(dtype))
    return _narrow_dot(x_MxK.astype(dtype), w_KxN.astype(dtype))


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], std: float) -> nnx.Param:
    """A float32 parameter drawn from a normal distribution with mean 0 and deviation `std`."""
    return nnx.Param(jax.random.normal(rngs.params(), shape, jnp.float32) * jnp.float32(std))


class Linear(nnx.Module):
    """x W + b over rows, the product in the compute dtype and the sum in float32."""

    def __init__(self, inputs: int, outputs: int, *, std: float, rngs: nnx.Rngs, bias: bool = True):
        self.kernel = normal(rngs, (inputs, outputs), std)
        self.bias = nnx.Param(jnp.zeros((outputs,), jnp.float32)) if bias else None

    def __call__(self, x_MxC: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        y_MxF = matmul(x_MxC, self.kernel[...], dtype)
        return y_MxF if self.bias is None else y_MxF + self.bias[...][None, :]


class LayerNorm(nnx.Module):
    """Layer normalisation over rows, in float32 whatever the compute dtype is."""

    def __init__(self, width: int, eps: float):
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.eps = eps

    def __call__(self, x_MxC: jax.Array) -> jax.Array:
        x_MxC = x_MxC - jnp.mean(x_MxC, axis=-1, keepdims=True)
        variance_Mx1 = jnp.mean(jnp.square(x_MxC), axis=-1, keepdims=True)
        x_MxC = x_MxC * jax.lax.rsqrt(variance_Mx1 + jnp.float32(self.eps))
        return x_MxC * self.scale[...][None, :] + self.bias[...][None, :]


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

        def by_head(linear: Linear) -> jax.Array:
            return linear(x_MxC, dtype).astype(dtype).reshape(split).transpose(0, 2, 1, 3)

        q_BxHxTxF, k_BxHxTxF, v_BxHxTxF = by_head(self.q), by_head(self.k), by_head(self.v)
        product = partial(
            jnp.einsum, precision=dot_precision(dtype), preferred_element_type=jnp.float32
        )
        logits_BxHxTxT = product("bhqf,bhkf->bhqk", q_BxHxTxF, k_BxHxTxF)
        logits_BxHxTxT = logits_BxHxTxT * jnp.float32(split[-1] ** -0.5)
        if causal:
            seen_TxT = jnp.tril(jnp.ones((tokens, tokens), bool))[None, None]
            logits_BxHxTxT = jnp.where(seen_TxT, logits_BxHxTxT, jnp.float32(-1e30))
        if seen_BxT is not None:
            logits_BxHxTxT = jnp.where(seen_BxT[:, None, None], logits_BxHxTxT, jnp.float32(-1e30))
        weights_BxHxTxT = jax.nn.softmax(logits_BxHxTxT, axis=-1).astype(dtype)
        mixed_BxHxTxF = product("bhqk,bhkf->bhqf", weights_BxHxTxT, v_BxHxTxF)
        return self.out(mixed_BxHxTxF.transpose(0, 2, 1, 3).reshape(-1, width), dtype)


class Mlp(nnx.Module):
    """Two linear layers with an activation between them."""

    def __init__(
        self,
        width: int,
        hidden: int,
        activation: str,
        *,
        up_std: float,
        down_std: float,
        rngs: nnx.Rngs,
    ):
        self.activation = activation
        self.up = Linear(width, hidden, std=up_std, rngs=rngs)
        self.down = Linear(hidden, width, std=down_std, rngs=rngs)

    def __call__(self, x_MxC: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        return self.down(ACTIVATIONS[self.activation](self.up(x_MxC, dtype)), dtype)


def patch_rows(pixels_BxHxWx3: jax.Array, grid: int, patch: int) -> jax.Array:
    """Non-overlapping patches as rows [B * P, patch * patch * 3]; a remainder is dropped.

    >>> patch_rows(jnp.zeros((2, 9, 9, 3)), grid=2, patch=4).shape
    (8, 48)
    """
    x = pixels_BxHxWx3[:, : grid * patch, : grid * patch]
    x = x.reshape(-1, grid, patch, grid, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, patch * patch * 3)


def unit_norm(x_BxE: jax.Array) -> jax.Array:
    """Rows scaled to length one; a zero row stays zero and keeps a finite gradient.

    >>> unit_norm(jnp.asarray([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    square_Bx1 = jnp.sum(jnp.square(x_BxE), axis=-1, keepdims=True)
    return x_BxE * jax.lax.rsqrt(jnp.maximum(square_Bx1, jnp.float32(1e-24)))
