"""The two minimisers of small fits (baselines, leakage), each one compiled program.

Adam on batches, stopped on validation, for what is learned by gradients and noise; L-BFGS to
convergence for what has one solution.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Params = dict[str, jax.Array]
# loss(params, batch, context, key) -> scalar; key None asks for the deterministic loss.
Loss = Callable[[Params, Any, Any, jax.Array | None], jax.Array]


class AdamFit(NamedTuple):
    """What Adam found.

    Attributes:
        params: those of the round with the lowest validation loss.
        valid_losses: float32 [rounds + 1], the start first; NaN for rounds that were not run.
        best_round: where `params` come from; 0 is the start.
    """

    params: dict[str, np.ndarray]
    valid_losses: np.ndarray
    best_round: int


def minimise_by_adam(
    loss: Loss,
    params: Params,
    train: Any,
    valid: Any,
    *,
    context: Any = None,
    learning_rates: dict[str, float],
    rounds: int,
    batch_size: int | None = None,
    passes: int = 1,
    patience: int = 0,
    decay: bool = False,
    weight_decays: dict[str, float] | None = None,
    seed: int = 0,
) -> AdamFit:
    """Minimise a loss by Adam in one compiled program, and keep the best round on validation.

    Args:
        loss: pure; `loss(params, batch, context, key)`. A module-level function compiles once.
        params: where to start.
        train: pytree of arrays whose first axis is the N images.
        valid: the same for validation; its loss is taken whole, with key None.
        context: arrays that every batch shares.
        learning_rates: for each entry of `params`.
        rounds: validations, at most.
        batch_size: images a step; None, or at least N: all of them.
        passes: passes over train between validations. The tail of a shuffled pass that does not
            fill a batch is left out, another one each time.
        patience: stop after so many rounds without a lower validation loss; 0 never stops.
        decay: whether the learning rates fall to zero along a cosine over all `rounds`.
        weight_decays: of entries of `params`, decoupled as in AdamW; what is not named has none.
        seed: of the order of images and of the noise.

    Returns:
        AdamFit.

    Reference: Kingma and Ba 2015 (arXiv 1412.6980); Loshchilov and Hutter 2019 (arXiv 1711.05101).

    >>> def square(params, batch, context, key):
    ...     return jnp.mean((params["x"] - batch) ** 2)
    >>> start, rates = {"x": jnp.zeros(())}, {"x": 0.1}
    >>> data = jnp.ones(4)
    >>> fit = minimise_by_adam(square, start, data, data, learning_rates=rates, rounds=200)
    >>> round(float(fit.params["x"]), 2)
    1.0
    """
    count = jax.tree.leaves(train)[0].shape[0]
    size = count if batch_size is None else min(batch_size, count)
    rates = {name: jnp.float32(learning_rates[name]) for name in params}
    shrinks = {name: jnp.float32((weight_decays or {}).get(name, 0.0)) for name in params}
    train, valid, context, params = jax.tree.map(jnp.asarray, (train, valid, context, params))
    best, losses, best_round = _train(
        params,
        train,
        valid,
        context,
        rates,
        shrinks,
        jnp.int32(patience),
        jax.random.key(seed),
        loss=loss,
        rounds=rounds,
        batch_size=size,
        passes=passes,
        decay=decay,
    )
    kept = {name: np.asarray(value) for name, value in best.items()}
    return AdamFit(kept, np.asarray(losses), int(best_round))


@partial(jax.jit, static_argnames="loss")
def minimise_by_lbfgs(
    loss: Callable[[Params, Any], jax.Array], params: Params, data: Any, iterations: int = 200
) -> Params:
    """Minimise a smooth loss until its gradient is small or `iterations` are done.

    Args:
        loss: pure; `loss(params, data)`. A module-level function compiles once.
        params: where to start.
        data: pytree of arrays.
        iterations: at most.

    Returns:
        The solution.

    Reference: Liu and Nocedal 1989, On the limited memory BFGS method for large scale optimization.

    >>> def square(params, data):
    ...     return jnp.sum((params["x"] - data) ** 2)
    >>> float(minimise_by_lbfgs(square, {"x": jnp.zeros(())}, jnp.float32(3))["x"])
    3.0
    """

    def objective(params: Params) -> jax.Array:
        return loss(params, data)

    optimizer = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def step(carry: tuple) -> tuple:
        params, state, _, count = carry
        with jax.numpy_dtype_promotion("standard"):
            value, gradient = value_and_grad(params, state=state)
            updates, state = optimizer.update(
                gradient, state, params, value=value, grad=gradient, value_fn=objective
            )
        return optax.apply_updates(params, updates), state, optax.tree.norm(gradient), count + 1

    def go_on(carry: tuple) -> jax.Array:
        return (carry[2] > 1e-5) & (carry[3] < iterations)

    start = (params, optimizer.init(params), jnp.float32(jnp.inf), jnp.int32(0))
    solution, *_ = jax.lax.while_loop(go_on, step, start)
    return dict(solution)


@partial(jax.jit, static_argnames=("loss", "rounds", "batch_size", "passes", "decay"))
def _train(
    params: Params,
    train: Any,
    valid: Any,
    context: Any,
    rates: dict[str, jax.Array],
    shrinks: dict[str, jax.Array],
    patience: jax.Array,
    key: jax.Array,
    *,
    loss: Loss,
    rounds: int,
    batch_size: int,
    passes: int,
    decay: bool,
) -> tuple[Params, jax.Array, jax.Array]:
    optimizer = optax.scale_by_adam()

    def one_round(params: Params, state: Any, number: jax.Array) -> tuple[Params, Any]:
        order_key, noise_key = jax.random.split(jax.random.fold_in(key, number))
        rows = _order(order_key, jax.tree.leaves(train)[0].shape[0], batch_size, passes)
        steps = passes if rows is None else rows.shape[0]

        def step(carry: tuple, i: jax.Array) -> tuple:
            params, state = carry
            batch = train if rows is None else _take(train, rows[i])
            gradient = jax.grad(loss)(params, batch, context, jax.random.fold_in(noise_key, i))
            # Adam's bias correction raises a float to an integer count.
            with jax.numpy_dtype_promotion("standard"):
                directions, state = optimizer.update(gradient, state)
            now = rates
            if decay:
                done = (number * steps + i).astype(jnp.float32) / (rounds * steps)
                now = {
                    name: rate * 0.5 * (1.0 + jnp.cos(jnp.pi * done)) for name, rate in now.items()
                }
            moved = jax.tree.map(
                lambda old, rate, way, shrink: old - rate * (way + shrink * old),
                *(params, now, directions, shrinks),
            )
            return (moved, state), None

        return jax.lax.scan(step, (params, state), jnp.arange(steps))[0]

    def advance(carry: tuple) -> tuple:
        number, params, state, best, best_round, losses = carry
        params, state = one_round(params, state, number)
        number = number + 1
        value = loss(params, valid, context, None)
        better = value < losses[best_round]
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best)
        best_round = jnp.where(better, number, best_round)
        return number, params, state, best, best_round, losses.at[number].set(value)

    def unfinished(carry: tuple) -> jax.Array:
        number, best_round = carry[0], carry[4]
        return (number < rounds) & ((patience == 0) | (number - best_round < patience))

    losses = jnp.full(rounds + 1, jnp.nan).at[0].set(loss(params, valid, context, None))
    zero = jnp.int32(0)
    start = (zero, params, optimizer.init(params), params, zero, losses)
    *_, best, best_round, losses = jax.lax.while_loop(unfinished, advance, start)
    return best, losses, best_round


def _order(key: jax.Array, count: int, batch_size: int, passes: int) -> jax.Array | None:
    """Rows of each step of a round, int32 [steps, B]; None where every step takes all rows."""
    if batch_size == count:
        return None
    steps = count // batch_size
    keys = jax.random.split(key, passes)
    order = jax.vmap(lambda each: jax.random.permutation(each, count)[: steps * batch_size])(keys)
    return order.reshape(passes * steps, batch_size)


def _take(arrays: Any, rows_B: jax.Array) -> Any:
    return jax.tree.map(lambda array: array[rows_B], arrays)
