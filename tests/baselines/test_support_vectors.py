from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from concept_problem import make_problem
from sklearn.svm import LinearSVC

from jaxcbm.baselines.concept_classifier import activations
from jaxcbm.baselines.post_hoc import learned_bottleneck
from jaxcbm.baselines.support_vectors import COSTS, draw_pairs, solve_svm, support_vectors
from jaxcbm.evaluation.metrics import concept_auc

PAIRS = 40


@pytest.mark.parametrize("cost", [0.01, 1.0, 30.0])
def test_the_solution_is_scikit_learns(cost):
    problem, rng = make_problem(), np.random.default_rng(0)
    rows = problem.train.as_array()
    drawn, sides = draw_pairs(problem.train.annotations, PAIRS, rng)
    kernel, bias = solve_svm(jnp.asarray(rows[drawn]), jnp.asarray(sides), jnp.float32(cost))
    assert kernel.shape == (16, 12) and bias.shape == (12,)
    for a in (0, 5, 11):
        used = sides[a] != 0
        # A large constant input leaves its own weight, the bias, as good as unpenalised.
        reference = LinearSVC(C=cost, intercept_scaling=100.0, tol=1e-8, max_iter=200_000)
        reference.fit(rows[drawn[a, used]], sides[a, used])
        size = np.abs(reference.coef_).max()
        np.testing.assert_allclose(kernel[:, a], reference.coef_[0], atol=0.01 * size + 1e-3)
        np.testing.assert_allclose(bias[a], reference.intercept_[0], atol=0.01 * size + 1e-3)


def test_pairs_are_of_both_kinds_different_and_known():
    problem = make_problem()
    present = problem.train.annotations
    rows, sides = draw_pairs(present, 50, np.random.default_rng(0))
    assert rows.shape == sides.shape == (12, 100)
    for a in range(12):
        with_it, without = rows[a, sides[a] > 0], rows[a, sides[a] < 0]
        few = int(min((present[:, a] == 1).sum(), (present[:, a] == 0).sum(), 50))
        assert len(with_it) == len(without) == few > 30
        assert (present[with_it, a] == 1).all() and (present[without, a] == 0).all()
        assert len({*with_it, *without}) == 2 * few


def test_vectors_are_unit_rank_images_and_hang_on_the_seed():
    problem = make_problem()
    arguments = [value for part in problem[:2] for value in (part.as_array(), part.annotations)]
    found, again, other = (
        support_vectors(*arguments, pairs=PAIRS, costs=(0.1, 1.0), seed=s) for s in (1, 1, 2)
    )
    np.testing.assert_allclose(np.linalg.norm(found.kernel, axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(found.kernel, again.kernel)
    assert not np.array_equal(found.kernel, other.kernel)
    assert set(found.penalties.tolist()) <= set(np.float32((0.1, 1.0)).tolist())
    bank = learned_bottleneck(*problem[:2], partial(support_vectors, pairs=PAIRS))
    auc = concept_auc(activations(bank, problem.test.as_array()), problem.test.annotations)
    assert auc.mean() > 0.82


def test_the_cost_is_the_best_on_validation():
    problem = make_problem()
    arguments = [value for part in problem[:2] for value in (part.as_array(), part.annotations)]
    found = support_vectors(*arguments, pairs=PAIRS)
    rng = np.random.default_rng(0)
    draw_pairs(problem.train.annotations, PAIRS, rng)
    rows, sides = draw_pairs(problem.valid.annotations, PAIRS, rng)
    single = [support_vectors(*arguments, pairs=PAIRS, costs=(cost,)) for cost in COSTS]

    def right(vectors):
        values = problem.valid.as_array() @ vectors.kernel + vectors.bias
        return np.array([np.mean(values[rows[a], a] * sides[a] > 0) for a in range(12)])

    np.testing.assert_allclose(right(found), np.max([right(each) for each in single], axis=0))


def test_concepts_of_one_kind_alone_have_no_vector():
    problem = make_problem()
    train = problem.train.annotations.copy()
    train[:, 2], train[:, 4] = 1, np.nan
    valid = problem.valid.annotations.copy()
    valid[:, 7] = 0
    found = support_vectors(
        problem.train.as_array(), train, problem.valid.as_array(), valid, pairs=PAIRS
    )
    assert found.columns.tolist() == [a for a in range(12) if a not in (2, 4)]
    assert found.penalties[found.columns == 7] == np.float32(min(COSTS))
    assert np.isfinite(found.kernel).all() and np.isfinite(found.bias).all()
