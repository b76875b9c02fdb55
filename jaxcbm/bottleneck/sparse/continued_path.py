"""A sparse path that goes on from an old one after its data, or some of its weights, have changed.

Every penalty starts from its own old head, moved by what the change did to the head before: an edit
does much the same to neighbours on the path. A certificate owes nothing to where a solver started,
so that these heads are as good as those of a path from nothing.
"""

import jax
import jax.numpy as jnp

from jaxcbm.bottleneck.sparse.path import SparsePath, head_of, nec
from jaxcbm.bottleneck.sparse.problem import logits_of, matmul, pose
from jaxcbm.bottleneck.sparse.solver import empty_model, solve


def continue_path(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    lambdas_P: jax.Array,
    weights_PxKxD: jax.Array,
    biases_PxK: jax.Array,
    *,
    l1_ratio: float,
    tolerance: float,
    max_iterations: int,
    sample_weights: jax.Array | None = None,
    held_KxD: jax.Array | None = None,
) -> SparsePath:
    """Solve the elastic net at some penalties, each from a head that is nearly right.

    Args:
        activations_NxD: of the changed data.
        labels_N: int [N] in [0, K).
        lambdas_P: penalties, decreasing.
        weights_PxKxD: where to start.
        biases_PxK: where to start.
        l1_ratio, tolerance, max_iterations, sample_weights: as for `elastic_net_path`.
        held_KxD: weights that stay as they are at the start, bool; the others are solved for, and
            the certificate bounds how far they can be from the best beside them. None: all are.

    Returns:
        SparsePath.

    >>> from jaxcbm.bottleneck.sparse.path import elastic_net_path
    >>> activations = jnp.array([[1.0, 0.3], [0.8, -0.3], [-1.0, 0.2], [-0.9, -0.2]])
    >>> labels, how = jnp.array([0, 0, 1, 1]), dict(l1_ratio=0.99, tolerance=1e-3)
    >>> old = elastic_net_path(activations, labels, 2, path_length=3, **how)
    >>> new = continue_path(activations, labels, *old[:3], max_iterations=9, **how)
    >>> new.iterations.tolist(), bool(jnp.all(new.certificate <= 1e-3))
    ([0, 0, 0], True)
    """
    arrays = activations_NxD, labels_N, lambdas_P, weights_PxKxD, biases_PxK
    return _continue(*arrays, sample_weights, held_KxD, l1_ratio, tolerance, max_iterations)


@jax.jit
def _continue(
    activations_NxD: jax.Array,
    labels_N: jax.Array,
    lambdas_P: jax.Array,
    weights_PxKxD: jax.Array,
    biases_PxK: jax.Array,
    sample_weights: jax.Array | None,
    held_KxD: jax.Array | None,
    l1_ratio: jax.Array | float,
    tolerance: jax.Array | float,
    max_iterations: jax.Array | int,
) -> SparsePath:
    lambdas_P, ratio = jnp.asarray(lambdas_P, jnp.float32), jnp.asarray(l1_ratio, jnp.float32)
    problem = pose(activations_NxD, labels_N, weights_PxKxD.shape[1], sample_weights)
    if held_KxD is not None:
        problem = problem._replace(held=jnp.pad(held_KxD, ((0, 0), (0, 1))))
    empty = empty_model(problem)

    def follow(moved_KxJ: jax.Array, penalised: tuple):
        penalty, weights_KxD, bias_K = penalised
        constants_K = (bias_K + matmul(weights_KxD, problem.mean)) / problem.constant
        old_KxJ = jnp.concatenate([weights_KxD, constants_K[:, None]], axis=1)
        now = old_KxJ + moved_KxJ
        logits = logits_of(problem, now)
        start = empty._replace(now=now, now_logits=logits, last=now, last_logits=logits)
        posed = problem._replace(l1=penalty * ratio, l2=penalty * (1 - ratio))
        state = solve(posed, start, tolerance, max_iterations)
        found = *head_of(problem, state.now), state.objective, state.gap, state.iterations
        return state.now - old_KxJ, found

    given = lambdas_P, weights_PxKxD, biases_PxK
    _, found = jax.lax.scan(follow, jnp.zeros_like(empty.now), given)
    return SparsePath(lambdas_P, *found, jax.vmap(nec)(found[0]))
