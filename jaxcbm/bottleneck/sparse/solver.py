"""Elastic-net multinomial logistic regression at one penalty: the solver of the sparse path.

An accelerated proximal method in the metric of the data (see `quadratic_model`), with
restarts and a step size that follows the local curvature. Every few iterations a dual feasible
point bounds how far the model can be from the optimum (see `duality_gap`).

Reference: Beck and Teboulle 2009 (FISTA); O'Donoghue and Candes 2015 (arXiv 1204.3982) for the
restart; Lee, Sun and Saunders 2014 (arXiv 1206.1623) for proximal steps in another metric.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.duality_gap import bias_shift, certify, rounding
from jaxcbm.bottleneck.sparse.problem import Problem, gradient, logits_of
from jaxcbm.bottleneck.sparse.quadratic_model import (
    Metric,
    class_metric,
    curvature_bound,
    has_class_metric,
    minimise,
    shared_metric,
)

# Certifying costs about as much as two iterations.
_CHECK_EVERY = 5
# A step is lengthened towards the one that this share of the model's curvature would allow, at most
# by that factor: the first model of many classes is a hundred times too steep.
_SHARE = 0.5
_LARGEST_GROWTH = 1.5
_NEVER = -1e4  # Bias of a class without samples: its probability is exactly 0.


class State(NamedTuple):
    """Iterates [K, J] and their logits [K, N]."""

    now: jax.Array
    now_logits: jax.Array
    last: jax.Array
    last_logits: jax.Array
    momentum: jax.Array
    step: jax.Array
    iterations: jax.Array
    objective: jax.Array
    gap: jax.Array


def empty_model(problem: Problem) -> State:
    """W = 0 with the bias that predicts the class frequencies: the path's first solution."""
    present_K = problem.frequency > 0
    bias_K = jnp.where(present_K, jnp.log(jnp.where(present_K, problem.frequency, 1.0)), _NEVER)
    empty = jnp.zeros((bias_K.size, problem.width)).at[:, -1].set(bias_K / problem.constant)
    logits = logits_of(problem, empty)
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    return State(empty, logits, empty, logits, one, one, jnp.zeros((), jnp.int32), zero, one)


def largest_penalty(problem: Problem, empty: State, l1_ratio: jax.Array) -> jax.Array:
    """The smallest lambda that keeps W = 0: the largest gradient entry over the l1 share."""
    return jnp.max(jnp.abs(gradient(problem, empty.now_logits)[:, :-1])) / l1_ratio


def solve(
    problem: Problem, state: State, tolerance: jax.Array | float, max_iterations: jax.Array | int
) -> State:
    """Accelerated proximal steps from a warm start until the gap is small enough.

    The metric of a class pays where steps in the shared one have cost as much without success. A
    gap below its own rounding cannot be told, and is not waited for.
    """
    tolerance = jnp.maximum(tolerance, rounding(problem))
    state = state._replace(iterations=jnp.zeros((), jnp.int32), gap=jnp.full((), jnp.inf))
    patience = problem.width // 2 + _CHECK_EVERY if has_class_metric(problem) else max_iterations
    first = jnp.minimum(patience, max_iterations)
    state = _descend(problem, shared_metric, state, tolerance, first)
    if not has_class_metric(problem):
        return state

    def unsolved(state: State) -> jax.Array:
        return ~(state.gap <= tolerance) & (state.iterations < max_iterations)

    def refine(state: State) -> State:
        limit = jnp.minimum(state.iterations + patience, max_iterations)
        return _descend(problem, class_metric, state, tolerance, limit)

    return jax.lax.while_loop(unsolved, refine, state)


def _descend(
    problem: Problem,
    measure: Callable[..., Metric],
    state: State,
    tolerance: jax.Array | float,
    limit: jax.Array | int,
) -> State:
    """Steps in one metric, taken where the state is now, up to so many iterations in all."""
    metric = measure(problem, state.now_logits)
    state = state._replace(
        last=state.now,
        last_logits=state.now_logits,
        momentum=jnp.ones((), jnp.float32),
        # The next penalty's curvature is not far from the last one's.
        step=jnp.maximum(1.0, 0.5 * state.step),
    )

    def unsolved(state: State) -> jax.Array:
        unseen = jnp.isinf(state.gap)
        return unseen | (~(state.gap <= tolerance) & (state.iterations < limit))

    def advance(state: State) -> State:
        # The first round only certifies: a warm start may be good enough.
        left = jnp.minimum(_CHECK_EVERY, limit - state.iterations)
        steps = jnp.where(jnp.isinf(state.gap), 0, left)
        state = jax.lax.fori_loop(0, steps, lambda _, x: _iterate(problem, metric, x), state)
        return _check(problem, state._replace(iterations=state.iterations + steps))

    return jax.lax.while_loop(unsolved, advance, state)


def _iterate(problem: Problem, metric: Metric, state: State) -> State:
    """One trial step; accepted if the quadratic model majorises, else the step shrinks."""
    momentum = 0.5 + jnp.sqrt(0.25 + state.momentum**2)
    beta = (state.momentum - 1) / momentum
    ahead = state.now + beta * (state.now - state.last)
    ahead_logits = state.now_logits + beta * (state.now_logits - state.last_logits)
    new = minimise(problem, metric, ahead, gradient(problem, ahead_logits), state.step)
    new_logits = logits_of(problem, new)

    change = new - ahead
    allowed = metric.product(change, change) / (2 * state.step)
    rise = curvature_bound(problem, ahead_logits, new_logits)
    accepted = rise <= allowed
    # Momentum that points uphill is dropped.
    uphill = metric.product(-change, new - state.now) > 0

    def choose(yes, no):
        return jax.tree.map(lambda a, b: jnp.where(accepted, a, b), yes, no)

    now, now_logits, last, last_logits, momentum = choose(
        (new, new_logits, state.now, state.now_logits, jnp.where(uphill, 1.0, momentum)),
        (state.now, state.now_logits, state.last, state.last_logits, state.momentum),
    )
    # A model that stays where it is has no curvature to divide by.
    longer = jnp.clip(_SHARE * allowed / jnp.maximum(rise, 1e-30), 1.05, _LARGEST_GROWTH)
    factor = choose(longer, jnp.maximum(0.2, 0.9 * allowed / rise))
    return State(
        *(now, now_logits, last, last_logits, momentum, state.step * factor),
        *(state.iterations, state.objective, state.gap),
    )


def _check(problem: Problem, state: State) -> State:
    """Improve the bias, then certify."""
    shift_K = bias_shift(problem, state.now_logits)
    coefficients_K = shift_K / problem.constant
    state = state._replace(
        now=state.now.at[:, -1].add(coefficients_K),
        now_logits=state.now_logits + shift_K[:, None],
        last=state.last.at[:, -1].add(coefficients_K),
        last_logits=state.last_logits + shift_K[:, None],
    )
    objective, gap = certify(problem, state.now, state.now_logits)
    return state._replace(objective=objective, gap=gap)
