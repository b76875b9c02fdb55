"""Heads of given sizes: the largest weights of a path's head, solved for again with a ridge."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from jaxcbm.bottleneck.sparse import sized_heads
from jaxcbm.bottleneck.sparse.choice import choose_sparse_head
from jaxcbm.bottleneck.sparse.packed import pack
from jaxcbm.bottleneck.sparse.path import elastic_net_path
from jaxcbm.bottleneck.sparse.sized_heads import NEC_TARGETS, Images, solve_sizes

CLASSES, CONCEPTS = 3, 40


def images(count, seed):
    """Many weak concepts of unit deviation, and weights of the images."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    centres = np.random.default_rng(9).normal(size=(CLASSES, CONCEPTS)) * 0.5
    rows = (centres[labels] + rng.normal(size=(count, CONCEPTS))).astype(np.float32)
    return Images(jnp.asarray(rows), jnp.asarray(labels), jnp.asarray(rng.uniform(0.5, 2, count)))


@pytest.fixture(scope="module")
def problem():
    train, valid = images(150, 2), images(200, 3)
    solved = elastic_net_path(
        train.rows, train.labels, CLASSES, path_length=25, sample_weights=train.weights
    )
    return pack(solved), train, valid


@pytest.fixture(scope="module")
def found(problem):
    return solve_sizes(*problem, tolerance=1e-6, max_iterations=5000)


def cross_entropies(rows, labels, head, bias):
    logits = np.asarray(rows, np.float64) @ np.asarray(head, np.float64).T + np.asarray(bias)
    return logsumexp(logits, axis=1) - logits[np.arange(len(labels)), np.asarray(labels)]


def by_scipy(train, support, strength):
    """The ridge's optimum over weights of a support, in float64: head, bias and objective."""
    weights = np.asarray(train.weights, np.float64) / np.sum(np.asarray(train.weights, np.float64))
    rows, onehot = np.asarray(train.rows, np.float64), np.eye(CLASSES)[np.asarray(train.labels)]

    def split(theta):
        head = np.zeros(support.shape)
        head[support] = theta[CLASSES:]
        return head, theta[:CLASSES]

    def objective(theta):
        head, bias = split(theta)
        logits = rows @ head.T + bias
        log_p = logits - logsumexp(logits, axis=1, keepdims=True)
        error = weights[:, None] * (np.exp(log_p) - onehot)
        value = -weights @ (onehot * log_p).sum(axis=1) + strength / 2 * (head**2).sum()
        slope = error.T @ rows + strength * head
        return value, np.concatenate([error.sum(axis=0), slope[support]])

    best = minimize(
        *(objective, np.zeros(CLASSES + support.sum())),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9},
    )
    return *split(best.x), best.fun


def largest(head, size):
    """Where the size * K weights of largest magnitude stand."""
    kept = np.zeros(head.size, bool)
    kept[np.argsort(-np.abs(head).ravel(), kind="stable")[: size * len(head)]] = True
    return kept.reshape(head.shape) & (head != 0)


def supports(path, size):
    """Those that a size chooses between, by the definition."""
    firsts = [np.flatnonzero(path.nec >= size * by) for by in (1.0, 1.5)]
    positions = [int(first[0]) if len(first) else len(path.nec) - 1 for first in firsts]
    return [largest(path.head(position, CONCEPTS), size) for position in positions]


def test_each_head_is_the_ridge_optimum_on_its_weights(problem, found):
    _, train, _ = problem
    assert found.sizes.tolist() == list(NEC_TARGETS)
    assert (found.heads.certificate <= 3e-6).all()
    for t in range(len(NEC_TARGETS)):
        head, strength = found.heads.head(t, CONCEPTS), float(found.heads.lambdas[t])
        wanted, bias, objective = by_scipy(train, head != 0, strength)
        assert found.heads.objective[t] == pytest.approx(objective, rel=1e-5)
        np.testing.assert_allclose(head, wanted, atol=5e-3)
        ours = found.heads.biases[t] - found.heads.biases[t].mean()
        np.testing.assert_allclose(ours, bias - bias.mean(), atol=5e-3)


def test_validation_chooses_between_the_largest_weights_of_two_heads(problem, found):
    path, train, valid = problem
    differ = []
    for t, size in enumerate(NEC_TARGETS):
        strength, losses = float(found.heads.lambdas[t]), []
        for support in supports(path, size):
            head, bias, _ = by_scipy(train, support, strength)
            losses.append(cross_entropies(valid.rows, valid.labels, head, bias).mean())
        kept = found.heads.head(t, CONCEPTS) != 0
        np.testing.assert_array_equal(kept, supports(path, size)[int(np.argmin(losses))])
        assert found.heads.nec[t] <= size
        differ.append(int(np.argmin(losses)))
    # Or one of the two would do.
    assert set(differ) == {0, 1}


def test_validation_chooses_the_ridge_at_a_middle_size(problem, found):
    path, train, valid = problem
    support, losses = supports(path, 15)[0], []
    strengths = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
    for strength in strengths:
        head, bias, _ = by_scipy(train, support, strength)
        losses.append(cross_entropies(valid.rows, valid.labels, head, bias).mean())
    np.testing.assert_allclose(found.heads.lambdas, strengths[int(np.argmin(losses))])
    assert int(np.argmin(losses)) not in (0, len(strengths) - 1), "planted: no strength at an end"


def test_a_rough_head_is_no_further_off_than_its_certificate_says(problem, found):
    rough = solve_sizes(*problem, tolerance=3e-2, max_iterations=5000)
    assert (rough.heads.certificate <= 3e-2).all()
    excess = []
    for t in range(len(NEC_TARGETS)):
        head = rough.heads.head(t, CONCEPTS)
        _, _, least = by_scipy(problem[1], head != 0, float(rough.heads.lambdas[t]))
        excess.append((rough.heads.objective[t] - least) / rough.heads.objective[t])
    assert (np.array(excess) <= rough.heads.certificate + 1e-5).all() and max(excess) > 1e-4


def test_weights_that_are_held_stay(problem):
    path, *data = problem
    held = np.zeros((CLASSES, CONCEPTS), bool)
    held[1, np.argmax(np.abs(path.head(-1, CONCEPTS)[1]))] = True
    heads = solve_sizes(path, *data, tolerance=1e-4, max_iterations=999, held_KxD=held).heads
    known = np.array([path.head(p, CONCEPTS)[held] for p in range(len(path.nec))])
    for t in range(len(NEC_TARGETS)):
        assert heads.head(t, CONCEPTS)[held] in known


def test_a_size_that_no_head_reaches_has_the_last_one_whole(problem):
    path, *data = problem
    few = type(path)(*(getattr(path, name)[:10] for name in path._fields))
    few = few._replace(values=path.values, columns=path.columns)
    assert few.nec[-1] < 30
    heads = solve_sizes(few, *data, tolerance=1e-3, max_iterations=999).heads
    np.testing.assert_array_equal(heads.head(5, CONCEPTS) != 0, few.head(9, CONCEPTS) != 0)


def test_a_curve_reads_the_heads_of_their_sizes_and_cuts_the_path_for_others():
    train, valid = images(150, 2), images(200, 3)
    rows, labels = np.asarray(valid.rows), np.asarray(valid.labels)
    parts = np.asarray(train.rows), np.asarray(train.labels), rows, labels, CLASSES
    weights = np.asarray(train.weights)
    choice = choose_sparse_head(*parts, path_length=25, weights=weights)
    assert choice.sized is not None
    curve = choice.curve(rows, labels, targets=(5, 7, 30, 100))
    expected = []
    for heads, position, size in (
        (choice.sized.heads, 0, 5),
        (choice.path, int(np.argmax(choice.path.nec >= 7)), 7),
        (choice.sized.heads, 5, 30),
        (choice.path, len(choice.path.nec) - 1, 100),
    ):
        head = heads.head(position, CONCEPTS)
        head = np.where(largest(head, size), head, 0)
        logits = choice.standardise(rows) @ head.T + heads.biases[position]
        expected.append(np.mean(np.argmax(logits, axis=1) == labels))
    np.testing.assert_allclose(curve.accuracies, expected, rtol=1e-6)
    np.testing.assert_allclose(curve.anec, np.mean(expected), rtol=1e-6)
    assert len(set(expected)) > 2
    # The path is long enough for what the largest size reads.
    assert sized_heads.LARGEST_NEC == 45.0
