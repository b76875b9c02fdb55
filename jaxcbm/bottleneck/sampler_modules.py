"""The samplers between concept logits and head, as Flax modules without parameters.

Each maps logits [..., D], the key of its noise (None is inference) and a temperature to activations
[..., D] and their divergence from a prior, float32 [], which is 0 where there is no prior.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcbm.bottleneck.samplers import binary_concrete, gumbel_softmax, identity, sigmoid, top_k

if TYPE_CHECKING:
    from jaxcbm.bottleneck.config import BottleneckConfig

SamplerName = Literal["identity", "sigmoid", "gumbel_softmax", "binary_concrete", "top_k"]


class IdentitySampler(nnx.Module):
    """`identity` as a Flax module: activations are the logits."""

    def __call__(
        self, z: jax.Array, key: jax.Array | None = None, *, tau: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Activations [..., D] and their divergence from a prior, float32 [], which is 0."""
        return identity(z), _no_divergence()


class SigmoidSampler(nnx.Module):
    """`sigmoid` as a Flax module: activations are probabilities."""

    def __call__(
        self, z: jax.Array, key: jax.Array | None = None, *, tau: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Activations [..., D] and their divergence from a prior, float32 [], which is 0."""
        return sigmoid(z), _no_divergence()


class GumbelSoftmaxSampler(nnx.Module):
    """`gumbel_softmax` as a Flax module. It holds no parameters.

    >>> sampler = GumbelSoftmaxSampler(hard=True)
    >>> activations, kl = sampler(jnp.array([[0.0, 2.0]]))
    >>> activations.tolist(), float(kl)
    ([[0.0, 1.0]], 0.0)
    """

    def __init__(self, *, hard: bool = False):
        self.hard = hard

    def __call__(
        self, z: jax.Array, key: jax.Array | None = None, *, tau: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Activations [..., D] and their divergence from a prior, float32 [], which is 0.

        Args:
            z: concept logits [..., D].
            key: of the noise; None is inference.
            tau: temperature > 0. May be traced.
        """
        return gumbel_softmax(z, key, tau=tau, hard=self.hard), _no_divergence()


class TopKSampler(nnx.Module):
    """`top_k` as a Flax module. It holds no parameters."""

    def __init__(self, k: int):
        self.k = k

    def __call__(
        self, z: jax.Array, key: jax.Array | None = None, *, tau: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Activations [..., D] and their divergence from a prior, float32 [], which is 0."""
        return top_k(z, key, k=self.k, tau=tau), _no_divergence()


class BinaryConcreteSampler(nnx.Module):
    """`binary_concrete` as a Flax module. It holds no parameters."""

    def __init__(self, prior: float):
        self.prior = prior

    def __call__(
        self, z: jax.Array, key: jax.Array | None = None, *, tau: jax.Array | float = 1.0
    ) -> tuple[jax.Array, jax.Array]:
        """Activations [..., D] and their mean divergence from the prior, float32 []."""
        activations, kl = binary_concrete(z, key, tau=tau, prior=self.prior)
        return activations, jnp.mean(kl)


def _no_divergence() -> jax.Array:
    return jnp.zeros((), jnp.float32)


class SamplerRecord(NamedTuple):
    """One sampler.

    Attributes:
        make: the module of a configuration: (z, key, tau=) -> (activations [B, D], kl []).
        fields: of `BottleneckConfig` that matter with this sampler, and not with every other.
        layer_bias: whether the Concept Bottleneck Layer before it has a bias: its inputs are
            centred, but concepts differ in how common they are, and so do their probabilities.
    """

    make: Callable[["BottleneckConfig"], nnx.Module]
    fields: tuple[str, ...] = ()
    layer_bias: bool = False


SAMPLERS: dict[SamplerName, SamplerRecord] = {
    "identity": SamplerRecord(lambda config: IdentitySampler()),
    "sigmoid": SamplerRecord(lambda config: SigmoidSampler(), layer_bias=True),
    "gumbel_softmax": SamplerRecord(
        lambda config: GumbelSoftmaxSampler(hard=config.hard), ("hard", "tau_start", "tau_end")
    ),
    "binary_concrete": SamplerRecord(
        lambda config: BinaryConcreteSampler(config.prior), ("prior", "tau_start", "tau_end")
    ),
    "top_k": SamplerRecord(lambda config: TopKSampler(config.k), ("k", "tau_start", "tau_end")),
}
