"""The two optimizers of a fit: one for the Concept Bottleneck Layer, one for the head."""

from collections.abc import Hashable, Mapping

import jax
import optax

from jaxcbm.training.config import OptimizerConfig, TrainingConfig


def lenient(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same optimizer, also under strict type promotion.

    optax raises floats to the power of an integer step count, which strict promotion refuses.
    """

    def update(updates, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return optimizer.update(updates, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def make_schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Learning rate as a function of the step.

    >>> schedule = make_schedule(OptimizerConfig(learning_rate=0.1, schedule="cosine"), 100)
    >>> round(float(schedule(0)), 6), round(float(schedule(100)), 6)
    (0.1, 0.0)
    """
    warmup = round(config.warmup * total_steps)
    decay = max(total_steps - warmup, 1)
    peak = config.learning_rate
    after = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, decay),
        "exponential": lambda: optax.exponential_decay(peak, decay, 0.01),
    }[config.schedule]()
    if warmup == 0:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """One optimizer with its schedule."""
    schedule = make_schedule(config, total_steps)
    return {
        "adam": lambda: optax.adam(schedule),
        "adamw": lambda: optax.adamw(schedule, weight_decay=config.weight_decay),
        "sgd": lambda: optax.sgd(schedule, momentum=config.momentum),
    }[config.name]()


def make_optimizers(config: TrainingConfig, total_steps: int) -> optax.GradientTransformation:
    """Both optimizers as one transformation of the flat parameter dict, split by path."""
    head = make_optimizer(config.head, total_steps) if config.train_head else optax.set_to_zero()
    return by_group({"cbl": make_optimizer(config.cbl, total_steps), "head": head})


def by_group(
    optimizers: Mapping[Hashable, optax.GradientTransformation],
) -> optax.GradientTransformation:
    """Several optimizers of a flat parameter dict as one: each of the paths that begin so."""
    return lenient(
        optax.partition(optimizers, lambda params: {path: path.split(".")[0] for path in params})
    )
