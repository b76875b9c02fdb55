"""The layers every transformer tower is made of; attention has a module of its own.

All of them keep the residual stream, norms and softmax in float32. Only the operands of matrix
products are cast to the compute `dtype`; sums are float32 always.

Activations travel as flat rows `x_MxC` with M = B * T, so that every product is one plain matmul.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.nn.matmul import matmul
from jaxcbm.errors import UserError

Activation = Callable[[jax.Array], jax.Array]


def quick_gelu(x: jax.Array) -> jax.Array:
    """CLIP's sigmoid approximation of gelu.

    >>> float(quick_gelu(jnp.float32(0.0)))
    0.0
    """
    return x * jax.nn.sigmoid(jnp.asarray(1.702, x.dtype) * x)


_gelu_erf = partial(jax.nn.gelu, approximate=False)
_gelu_tanh = partial(jax.nn.gelu, approximate=True)

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


def check_activation(name: str) -> None:
    """Refuse a name that is no key of `ACTIVATIONS`."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UserError(f"config.json: unknown activation {name!r} (supported: {known})")


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
