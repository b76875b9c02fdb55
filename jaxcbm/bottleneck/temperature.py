"""How the temperature of the Gumbel objective and of the samplers falls over a fit."""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.config import BottleneckConfig


def temperature(config: BottleneckConfig, step: jax.Array, total_steps: int) -> jax.Array:
    """Geometric annealing from `tau_start` at the first step to `tau_end` at the last.

    Args:
        config: of the bottleneck.
        step: int [], from 0.
        total_steps: of the whole fit.

    Returns:
        float32 []. At inference it is `tau_end`.

    >>> config = BottleneckConfig(tau_start=1.0, tau_end=0.25)
    >>> [round(float(temperature(config, jnp.array(step), 3)), 4) for step in range(3)]
    [1.0, 0.5, 0.25]
    """
    progress = step.astype(jnp.float32) / max(total_steps - 1, 1)
    return config.tau_start * (config.tau_end / config.tau_start) ** progress
