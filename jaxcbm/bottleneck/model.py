"""The concept bottleneck as Flax modules, functional at the edges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.sampler_modules import SAMPLERS
from jaxcbm.flat_params import merge_flat, split_flat

Params = dict[str, jax.Array]


class Intermediates(NamedTuple):
    """What the bottleneck computed on the way to the class logits.

    Attributes:
        concept_logits: z, float32 [B, D].
        concept_activations: sampler(z), float32 [B, D].
        kl: the sampler's divergence from its prior, float32 [] (0 for all but binary_concrete).
    """

    concept_logits: jax.Array
    concept_activations: jax.Array
    kl: jax.Array


def _uniform(rngs: nnx.Rngs, shape: tuple[int, int]) -> jax.Array:
    """U(-1/sqrt(fan in), 1/sqrt(fan in)), the usual start of a linear layer."""
    bound = shape[0] ** -0.5
    return jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound)


class ConceptBottleneckLayer(nnx.Module):
    """z = W x; the kernel is stored as [inputs, D], so that z = x @ kernel.

    With `residual`, W = I + R: the kernel is R, which starts at zero. With `bias`, z = W x + b, as
    a sampler that makes probabilities of z needs it.
    """

    def __init__(
        self, inputs: int, concepts: int, *, residual: bool, bias: bool = False, rngs: nnx.Rngs
    ):
        self.residual = residual
        shape = (inputs, concepts)
        self.kernel = nnx.Param(jnp.zeros(shape) if residual else _uniform(rngs, shape))
        self.bias = nnx.Param(jnp.zeros(concepts)) if bias else None

    def __call__(self, inputs_BxI: jax.Array) -> jax.Array:
        moved_BxD = jnp.matmul(inputs_BxI, self.kernel[...])
        z_BxD = inputs_BxI + moved_BxD if self.residual else moved_BxD
        return z_BxD if self.bias is None else z_BxD + self.bias[...][None, :]


class Head(nnx.Module):
    """y = F a + bias; the kernel is stored as F transposed, [D, K]."""

    def __init__(self, concepts: int, classes: int, *, bias: bool, rngs: nnx.Rngs):
        self.kernel = nnx.Param(_uniform(rngs, (concepts, classes)))
        self.bias = nnx.Param(jnp.zeros(classes)) if bias else None

    def __call__(self, activations_BxD: jax.Array) -> jax.Array:
        logits_BxK = jnp.matmul(activations_BxD, self.kernel[...])
        return logits_BxK if self.bias is None else logits_BxK + self.bias[...][None, :]


class ConceptBottleneck(nnx.Module):
    """Concept Bottleneck Layer, sampler and head (DESIGN: z = W psi, a = sampler(z), y = F a)."""

    def __init__(
        self, config: BottleneckConfig, inputs: int, concepts: int, classes: int, *, rngs: nnx.Rngs
    ):
        self.cbl = ConceptBottleneckLayer(
            inputs,
            concepts,
            residual=config.layer == "residual",
            bias=config.layer_bias,
            rngs=rngs,
        )
        self.sampler = SAMPLERS[config.sampler].make(config)
        self.head = Head(concepts, classes, bias=config.head_bias, rngs=rngs)

    def __call__(
        self,
        inputs_BxI: jax.Array,
        *,
        key: jax.Array | None = None,
        tau: jax.Array | float = 1.0,
        stop_gradient: bool = False,
    ) -> tuple[jax.Array, Intermediates]:
        """Class logits and intermediates.

        Args:
            inputs_BxI: what the layer reads (standardised scores, or centred embeddings).
            key: noise for the sampler; None makes it deterministic (inference).
            tau: the sampler's temperature.
            stop_gradient: keep the head's loss from reaching the Concept Bottleneck Layer.
        """
        z_BxD = self.cbl(inputs_BxI)
        activations_BxD, kl = self.sampler(z_BxD, key, tau=tau)
        read_BxD = jax.lax.stop_gradient(activations_BxD) if stop_gradient else activations_BxD
        return self.head(read_BxD), Intermediates(z_BxD, activations_BxD, kl)


class Bottleneck(NamedTuple):
    """A bottleneck's structure apart from its numbers; `apply` is a pure function of both."""

    graph: nnx.GraphDef

    def apply(
        self, params: Params, inputs_BxI: jax.Array, **options
    ) -> tuple[jax.Array, Intermediates]:
        """Class logits and intermediates; options as in `ConceptBottleneck.__call__`."""
        return merge_flat(self.graph, params)(inputs_BxI, **options)


def build_bottleneck(
    config: BottleneckConfig, inputs: int, concepts: int, classes: int, *, seed: int = 0
) -> tuple[Bottleneck, Params]:
    """Structure and initial parameters, as a flat dict of paths (`cbl.kernel`, `head.bias`).

    The layer reads `inputs` columns: D, or E where it is factored.

    >>> bottleneck, params = build_bottleneck(BottleneckConfig(), inputs=3, concepts=3, classes=2)
    >>> sorted(params), bottleneck.apply(params, jnp.ones((1, 3)))[0].shape
    (['cbl.kernel', 'head.bias', 'head.kernel'], (1, 2))
    """
    model = ConceptBottleneck(config, inputs, concepts, classes, rngs=nnx.Rngs(params=seed))
    graph, params = split_flat(model)
    return Bottleneck(graph), params
