"""EfficientNet: inverted bottlenecks with squeeze-and-excitation, without a single convolution.

A convolution of width one is a matrix product over pixels. The depthwise ones are sums of shifted
maps, which the compiler fuses into one pass: on a CPU that took a quarter to a fortieth of the time
of a grouped convolution, and about that of torch's own kernel.

What is not a product over pixels stays in float32 whatever the compute type is, the weights too:
it costs nothing there, and with a squeeze in bfloat16 small random towers had up to ten times the
error. Those weights are therefore not called `kernel`, which is what is cast.

Batch normalisation uses the stored statistics and nothing is dropped, in training as well: the
tower gives one picture the same embedding whatever its batch and whatever else trains.

Reference: Tan & Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks,
2019, arXiv 1905.11946.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.encoders.align.efficientnet_config import BlockShape, EfficientNetConfig
from jaxcbm.encoders.nn.layers import ACTIVATIONS, Linear, normal, unit_norm
from jaxcbm.encoders.nn.matmul import matmul
from jaxcbm.encoders.nn.two_towers import Intermediates


class BatchNorm(nnx.Module):
    """Batch normalisation by stored statistics, which no gradient reaches."""

    def __init__(self, width: int, eps: float):
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.mean = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.variance = nnx.Param(jnp.ones((width,), jnp.float32))
        self.eps = eps

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        mean_C = jax.lax.stop_gradient(self.mean[...])
        variance_C = jax.lax.stop_gradient(self.variance[...])
        factor_C = self.scale[...] * jax.lax.rsqrt(variance_C + jnp.float32(self.eps))
        shift_C = self.bias[...] - mean_C * factor_C
        return x_BxHxWxC * factor_C[None, None, None] + shift_C[None, None, None]


class Depthwise(nnx.Module):
    """A convolution of every channel with a small kernel of its own, as a sum of shifted maps."""

    def __init__(self, shape: BlockShape, rngs: nnx.Rngs):
        size = shape.kernel
        self.stride, self.padding = shape.stride, shape.padding
        self.window = normal(rngs, (size, size, shape.hidden), 1 / size)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        window_PxC = self.window[...].reshape(-1, x_BxHxWxC.shape[-1])
        maps = shifted(x_BxHxWxC, self.window.shape[0], self.stride, self.padding)
        products = (m * w_C[None, None, None] for m, w_C in zip(maps, window_PxC, strict=True))
        total_BxHxWxC = next(products)
        for product_BxHxWxC in products:
            total_BxHxWxC = total_BxHxWxC + product_BxHxWxC
        return total_BxHxWxC


class Gate(nnx.Module):
    """A small linear layer over whole maps, in float32 always."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs):
        self.matrix = normal(rngs, (inputs, outputs), inputs**-0.5)
        self.bias = nnx.Param(jnp.zeros((outputs,), jnp.float32))

    def __call__(self, x_BxC: jax.Array) -> jax.Array:
        return matmul(x_BxC, self.matrix[...]) + self.bias[...][None]


class SqueezeExcite(nnx.Module):
    """Channels weighted by what the mean of the whole map says."""

    def __init__(self, shape: BlockShape, activation: str, rngs: nnx.Rngs):
        self.activation = activation
        self.reduce = Gate(shape.hidden, shape.squeeze, rngs)
        self.expand = Gate(shape.squeeze, shape.hidden, rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        small_BxS = self.reduce(jnp.mean(x_BxHxWxC, axis=(1, 2)))
        gates_BxC = jax.nn.sigmoid(self.expand(ACTIVATIONS[self.activation](small_BxS)))
        return x_BxHxWxC * gates_BxC[:, None, None]


class InvertedBottleneck(nnx.Module):
    """Inverted bottleneck: expand, depthwise, squeeze-and-excitation, project."""

    def __init__(self, shape: BlockShape, activation: str, eps: float, rngs: nnx.Rngs):
        inputs, hidden, outputs = shape.inputs, shape.hidden, shape.outputs
        self.activation, self.residual = activation, shape.residual
        expand = Linear(inputs, hidden, std=inputs**-0.5, rngs=rngs, bias=False)
        self.expand = expand if shape.expand else None
        self.expand_norm = BatchNorm(hidden, eps) if shape.expand else None
        self.depthwise = Depthwise(shape, rngs)
        self.depthwise_norm = BatchNorm(hidden, eps)
        self.squeeze = SqueezeExcite(shape, activation, rngs)
        self.project = Linear(hidden, outputs, std=hidden**-0.5, rngs=rngs, bias=False)
        self.project_norm = BatchNorm(outputs, eps)

    def __call__(self, x_BxHxWxC: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        activation, y = ACTIVATIONS[self.activation], x_BxHxWxC
        if self.expand is not None and self.expand_norm is not None:
            y = activation(self.expand_norm(_per_pixel(self.expand, y, dtype)))
        y = activation(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(_per_pixel(self.project, self.squeeze(y), dtype))
        return x_BxHxWxC + y if self.residual else y


class EfficientNet(nnx.Module):
    """The image tower; the pooled map is the embedding, there is no projection behind it.

    Pictures may have any size: `image_size` of the config is only what the checkpoint saw.
    """

    def __init__(self, config: EfficientNetConfig, rngs: nnx.Rngs):
        width, act, eps = config.stem_width, config.hidden_act, config.batch_norm_eps
        self.config = config
        self.stem = Linear(27, width, std=27**-0.5, rngs=rngs, bias=False)
        self.stem_norm = BatchNorm(width, eps)
        self.blocks = nnx.List(
            [InvertedBottleneck(shape, act, eps, rngs) for shape in config.blocks]
        )

    def __call__(
        self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32
    ) -> tuple[jax.Array, Intermediates]:
        out: Intermediates = {}
        x_BxHxWxC = self._places(pixels_BxHxWx3, out, dtype)
        pool = jnp.mean if self.config.pooling_type == "mean" else jnp.max
        out["pooled"] = out["projected"] = pool(x_BxHxWxC, axis=(1, 2))
        return unit_norm(out["projected"]), out

    def encode_patches(self, pixels_BxHxWx3: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
        """See `TwoTowers.encode_patches`; the pool takes one place."""
        return unit_norm(self._places(pixels_BxHxWx3, {}, dtype))

    def _places(self, pixels_BxHxWx3: jax.Array, out: Intermediates, dtype: Any) -> jax.Array:
        """What is pooled, [B, H', W', E]."""
        patches = jnp.concatenate(list(shifted(pixels_BxHxWx3, 3, 2, (0, 1))), axis=-1)
        x_BxHxWxC = self.stem_norm(_per_pixel(self.stem, patches, dtype))
        x_BxHxWxC = ACTIVATIONS[self.config.hidden_act](x_BxHxWxC)
        out["stem"] = x_BxHxWxC
        for i, block in enumerate(self.blocks):
            x_BxHxWxC = block(x_BxHxWxC, dtype)
            out[f"block{i:02d}"] = x_BxHxWxC
        return x_BxHxWxC


def shifted(
    x_BxHxWxC: jax.Array, size: int, stride: int, padding: tuple[int, int]
) -> Iterator[jax.Array]:
    """What each position of a sliding window sees: size * size maps of one element a window.

    `padding` is how many zeros stand before and after each edge.

    >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> [m[0, :, :, 0].tolist() for m in shifted(x, 2, 2, (0, 1))][1]
    [[1.0, 0.0], [7.0, 0.0]]
    """
    x = jnp.pad(x_BxHxWxC, ((0, 0), padding, padding, (0, 0)))
    rows, columns = ((edge - size) // stride * stride + 1 for edge in x.shape[1:3])
    for i in range(size):
        for j in range(size):
            yield x[:, i : i + rows : stride, j : j + columns : stride]


def _per_pixel(linear: Linear, x_BxHxWxC: jax.Array, dtype: Any) -> jax.Array:
    rows_MxF = linear(x_BxHxWxC.reshape(-1, x_BxHxWxC.shape[-1]), dtype)
    return rows_MxF.reshape(*x_BxHxWxC.shape[:3], -1)
