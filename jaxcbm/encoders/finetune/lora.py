"""Low-rank adapters as pure functions on the flat parameter dict: no module knows of them.

An adapted kernel is `kernel + alpha / rank * A B`, of a frozen kernel [I, O] and two small matrices
A [I, R] and B [R, O]. A starts normal and B at zero, so that the first step starts from the encoder
as it is.

Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, arXiv 2106.09685.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.encoders.nn.matmul import AdaptedKernel
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Count, Positive, Share


@dataclass(frozen=True)
class LoraConfig:
    r"""Size of the adapters, and which matrices have one.

    Attributes:
        rank: R, columns of A and rows of B.
        alpha: strength; the product of both is scaled by alpha / rank, so that another rank needs
            no other learning rate.
        dropout: share of the inputs of every adapter that a training step leaves out, 0 to 1. The
            kernels are whole, so the whole batch of a step leaves out the same ones.
        where: regular expression; the matrices whose path it is found in are adapted, such as
            `^vision\.projection` or `^vision\..*\.attn`. All of the image tower's by default.
    """

    rank: Count = 8
    alpha: Positive = 16.0
    dropout: Share = 0.0
    where: str = r"^vision\."

    def __post_init__(self):
        if self.rank < 1 or not 0.0 <= self.dropout < 1.0:
            raise UserError(
                f"lora: rank {self.rank} must be at least 1, dropout {self.dropout} in [0, 1)"
            )

    @property
    def scale(self) -> float:
        """The factor before A B."""
        return self.alpha / self.rank


def init_lora(
    shapes: Mapping[str, Sequence[int]], config: LoraConfig, seed: int = 0
) -> dict[str, jax.Array]:
    """Adapters that change nothing yet, for matrices [I, O] by path.

    `PATH.a` [I, R] is normal with deviation I^-1/2, `PATH.b` [R, O] zeros; float32. A path draws
    the same numbers whichever others are adapted.

    >>> lora = init_lora({"attn.q.kernel": (4, 6)}, LoraConfig(rank=2))
    >>> {path: value.shape for path, value in lora.items()}
    {'attn.q.kernel.a': (4, 2), 'attn.q.kernel.b': (2, 6)}
    """
    key, adapters = jax.random.key(seed), {}
    for path, (inputs, outputs) in shapes.items():
        drawn_IxR = jax.random.normal(_key_of(key, path), (inputs, config.rank), jnp.float32)
        adapters[f"{path}.a"] = drawn_IxR * jnp.float32(inputs**-0.5)
        adapters[f"{path}.b"] = jnp.zeros((config.rank, outputs), jnp.float32)
    return adapters


def with_lora(
    params: Mapping[str, jax.Array],
    adapters: Mapping[str, jax.Array],
    config: LoraConfig,
    key: jax.Array | None = None,
) -> dict[str, jax.Array | AdaptedKernel]:
    """The parameters with their adapted kernels, inside jit; gradients reach the adapters.

    Args:
        params: float32 by path.
        adapters: as `init_lora` makes them.
        config: their strength and dropout.
        key: of the dropout; None leaves nothing out.
    """
    adapted: dict[str, jax.Array | AdaptedKernel] = dict(params)
    for path in adapted_paths(adapters):
        a_IxR, b_RxO = adapters[f"{path}.a"], adapters[f"{path}.b"]
        if key is not None and config.dropout > 0:
            kept_I = jax.random.bernoulli(_key_of(key, path), 1 - config.dropout, a_IxR.shape[:1])
            a_IxR = jnp.where(kept_I[:, None], a_IxR / jnp.float32(1 - config.dropout), 0.0)
        adapted[path] = AdaptedKernel(params[path], a_IxR, jnp.float32(config.scale) * b_RxO)
    return adapted


def merge_lora(
    params: Mapping[str, jax.Array], adapters: Mapping[str, np.ndarray], config: LoraConfig
) -> dict[str, jax.Array]:
    """The parameters with the adapters folded in for good: inference then costs what it did.

    The sums run rank by rank in NumPy, so that every machine gets the same bits, and with them the
    same content hash.

    >>> kernel, a, b = jnp.eye(2), np.ones((2, 1), np.float32), np.ones((1, 2), np.float32)
    >>> merged = merge_lora({"k": kernel}, {"k.a": a, "k.b": b}, LoraConfig(rank=1, alpha=0.5))
    >>> merged["k"].tolist()
    [[1.5, 0.5], [0.5, 1.5]]
    """
    merged = dict(params)
    for path in adapted_paths(adapters):
        a_IxR, b_RxO = (np.asarray(adapters[f"{path}.{end}"], np.float32) for end in "ab")
        product_IxO = np.zeros((a_IxR.shape[0], b_RxO.shape[1]), np.float32)
        for a_I, b_O in zip(a_IxR.T, b_RxO, strict=True):
            product_IxO += a_I[:, None] * b_O[None, :]
        kernel_IxO = np.asarray(params[path]) + np.float32(config.scale) * product_IxO
        merged[path] = jnp.asarray(kernel_IxO)
    return merged


def adapted_paths(adapters: Mapping[str, object]) -> list[str]:
    """The kernels that have an adapter.

    >>> adapted_paths({"q.kernel.a": 0, "q.kernel.b": 0})
    ['q.kernel']
    """
    return [name.removesuffix(".a") for name in adapters if name.endswith(".a")]


def _key_of(key: jax.Array, path: str) -> jax.Array:
    return jax.random.fold_in(key, zlib.crc32(path.encode()))
