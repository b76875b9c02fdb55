import numpy as np
from concept_problem import make_problem
from sklearn.linear_model import LogisticRegression

from jaxcbm.baselines.concept_vectors import concept_vectors


def test_each_vector_is_scikit_learns():
    problem = make_problem()
    rows, present = problem.train.as_array(), problem.train.annotations
    valid = problem.valid.as_array(), problem.valid.annotations
    found = concept_vectors(rows, present, *valid, penalties=(0.03,))
    deviation = np.sqrt(np.mean((rows - rows.mean(axis=0)) ** 2))
    for a in range(0, 12, 5):
        known = ~np.isnan(present[:, a])
        x, y = (rows[known] - rows.mean(axis=0)) / deviation, present[known, a]
        # Balanced weights sum to the number of images; ours to one.
        model = LogisticRegression(
            C=1 / (0.03 * known.sum()), class_weight="balanced", tol=1e-8, max_iter=2000
        ).fit(x, y)
        norm = np.linalg.norm(model.coef_)
        np.testing.assert_allclose(found.kernel[:, a], model.coef_[0] / norm, atol=3e-3)
        margins = (x @ model.coef_[0] + model.intercept_[0]) * deviation / norm
        np.testing.assert_allclose(
            rows[known] @ found.kernel[:, a] + found.bias[a], margins, atol=3e-3
        )


def test_penalties_are_chosen_on_validation_for_each_concept():
    problem = make_problem(images=100, noise=0.6)
    train = problem.train.as_array(), problem.train.annotations
    valid = problem.valid.as_array(), problem.valid.annotations
    penalties = (0.3, 0.01)
    found = concept_vectors(*train, *valid, penalties=penalties)
    singles = [concept_vectors(*train, *valid, penalties=(penalty,)) for penalty in penalties]
    assert len(set(found.penalties.tolist())) > 1
    for a, penalty in enumerate(found.penalties):
        same = singles[int(np.argmin(np.abs(np.log(np.array(penalties) / penalty))))]
        np.testing.assert_allclose(found.kernel[:, a], same.kernel[:, a], atol=2e-2)


def test_offsets_and_scale_of_the_embeddings_do_not_matter():
    problem = make_problem()
    train, valid = problem.train.as_array(), problem.valid.as_array()
    present = problem.train.annotations, problem.valid.annotations
    plain = concept_vectors(train, present[0], valid, present[1], penalties=(0.03,))
    moved = concept_vectors(5 * train + 2, present[0], 5 * valid + 2, present[1], penalties=(0.03,))
    np.testing.assert_allclose(plain.kernel, moved.kernel, atol=1e-3)
    np.testing.assert_allclose(
        5 * (train @ plain.kernel + plain.bias),
        (5 * train + 2) @ moved.kernel + moved.bias,
        atol=1e-2,
    )
