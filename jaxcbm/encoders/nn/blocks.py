"""The blocks of a transformer tower, one after the other."""

from collections.abc import Iterable
from typing import Any

import jax

from jaxcbm.encoders.nn.two_towers import Intermediates


def run_blocks(
    blocks: Iterable[Any], x_BxTxC: jax.Array, out: Intermediates, *rest: Any, **options: Any
) -> jax.Array:
    """The states behind the last block; those behind each of them go into `out`.

    Each block is called with flat rows [B * T, C] and the further arguments; `out` gets `block00`,
    `block01`, ..., each [B, T, C].
    """
    x_MxC = x_BxTxC.reshape(-1, x_BxTxC.shape[-1])
    for i, block in enumerate(blocks):
        x_MxC = block(x_MxC, *rest, **options)
        out[f"block{i:02d}"] = x_MxC.reshape(x_BxTxC.shape)
    return x_MxC.reshape(x_BxTxC.shape)
