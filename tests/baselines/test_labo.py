import itertools

import numpy as np
import pytest
from concept_problem import accuracy, make_problem, relabelled, unit

from jaxcbm.baselines.concept_classifier import class_logits
from jaxcbm.baselines.concept_selection import greedy_selection, mutual_information
from jaxcbm.baselines.labo import labo
from jaxcbm.errors import UserError
from jaxcbm.evaluation.calibration import negative_log_likelihood


def value(scores, concepts, own, chosen, alpha, beta):
    similarity = np.maximum(concepts[own] @ concepts[chosen].T, 0)
    coverage = similarity.max(axis=1).sum() if chosen else 0.0
    return alpha * scores[chosen].sum() + beta * coverage


def brute_force_greedy(scores, concepts, candidates, k, alpha, beta):
    result = np.zeros_like(candidates)
    for row, allowed in zip(result, candidates, strict=True):
        own, chosen = np.flatnonzero(allowed).tolist(), []
        for _ in range(min(k, len(own))):
            rest = [d for d in own if d not in chosen]
            values = [value(scores, concepts, own, [*chosen, d], alpha, beta) for d in rest]
            chosen.append(rest[int(np.argmax(values))])
        row[chosen] = True
    return result


@pytest.mark.parametrize("weights", [(0.0, 1.0), (1.0, 0.0), (0.7, 0.4)])
def test_the_greedy_choice_is_the_brute_force_one(weights):
    rng = np.random.default_rng(5)
    concepts, scores = unit(rng.normal(size=(30, 8))), rng.uniform(size=30).astype(np.float32)
    candidates = rng.uniform(size=(6, 30)) < rng.uniform(0.1, 0.9, size=(6, 1))
    candidates[:, 0] = True
    chosen = greedy_selection(
        scores,
        concepts,
        candidates,
        5,
        information_weight=weights[0],
        coverage_weight=weights[1],
    )
    expected = brute_force_greedy(scores, concepts, candidates, 5, *weights)
    np.testing.assert_array_equal(chosen, expected)
    assert not (chosen & ~candidates).any()
    np.testing.assert_array_equal(chosen.sum(axis=1), np.minimum(candidates.sum(axis=1), 5))


def test_the_greedy_value_is_near_the_best():
    rng = np.random.default_rng(6)
    concepts, scores = unit(rng.normal(size=(10, 4))), np.zeros(10, np.float32)
    everything = np.ones((1, 10), bool)
    chosen = np.flatnonzero(greedy_selection(scores, concepts, everything, 3)[0]).tolist()
    own = list(range(10))
    best = max(
        value(scores, concepts, own, list(some), 0, 1) for some in itertools.combinations(own, 3)
    )
    assert (1 - 1 / np.e) * best <= value(scores, concepts, own, chosen, 0, 1) <= best + 1e-6


def test_scores_are_shares_of_the_mutual_information():
    problem = make_problem()
    rows, labels = problem.train.as_array(), problem.train.labels
    texts = np.concatenate([problem.concepts, -problem.concepts[:1]])  # one of negative cosines
    found = mutual_information(rows, labels, texts, 5)  # the fifth class has no images
    cosines = [[np.mean(rows[labels == k] @ text) for text in texts] for k in range(4)]
    joint = np.maximum(cosines, 1e-6)
    joint /= 4 * joint.sum(axis=1, keepdims=True)
    information = joint * np.log(joint / (joint.sum(axis=0) * joint.sum(axis=1, keepdims=True)))
    np.testing.assert_allclose(found / 13, information.sum(axis=0), atol=1e-6)
    assert found.min() >= 0 and joint.sum() == pytest.approx(1)


def test_it_classifies_with_convex_weights_and_repeats_itself():
    problem = make_problem()
    arguments = problem.train, problem.valid, problem.concepts, problem.phrases
    settings = {"concepts_a_class": 2, "scale": 50.0, "epochs": 100, "batch_size": 100}
    settings["learning_rates"] = (0.03,)
    model, again = (labo(*arguments, problem.describes, **settings) for _ in range(2))
    assert accuracy(class_logits(model, problem.test.as_array()), problem.test) > 0.75
    np.testing.assert_allclose(model.head.sum(axis=1), 50, rtol=1e-4)
    assert model.head.min() > 0
    assert len(model.phrases) == 8
    np.testing.assert_array_equal(model.head, again.head)
    owners = np.array([int(phrase.split()[1]) % 4 for phrase in model.phrases])
    assert np.mean(np.argmax(model.head, axis=0) == owners) > 0.7


def test_training_improves_on_the_initial_matrix():
    problem = make_problem()
    arguments = problem.train, problem.valid, problem.concepts, problem.phrases, problem.describes
    start = labo(*arguments, epochs=1, learning_rates=(0.0,), scale=50.0)
    trained = labo(*arguments, epochs=200, learning_rates=(0.03,), scale=50.0)
    own, other = start.head[0, problem.describes[0]], start.head[0, ~problem.describes[0]]
    np.testing.assert_allclose(own[:, None] / other[None, :], np.e, rtol=1e-4)
    rows = problem.valid.as_array()
    assert accuracy(class_logits(trained, rows), problem.valid) >= accuracy(
        class_logits(start, rows), problem.valid
    )
    assert np.ptp(trained.head[0, problem.describes[0]]) > 0.1


def test_the_rate_is_the_best_on_validation():
    problem = make_problem()
    arguments = problem.train, problem.valid, problem.concepts, problem.phrases, problem.describes
    settings = {"scale": 50.0, "epochs": 30, "batch_size": 100}
    slow, fast, both, back = (
        labo(*arguments, learning_rates=rates, **settings)
        for rates in ((1e-5,), (0.03,), (1e-5, 0.03), (0.03, 1e-5))
    )

    def loss(model):
        return negative_log_likelihood(
            class_logits(model, problem.valid.as_array()), problem.valid.labels
        )

    assert loss(fast) < loss(slow)
    np.testing.assert_array_equal(both.head, fast.head)
    np.testing.assert_array_equal(back.head, fast.head)


def test_renaming_the_classes_renames_the_predictions():
    problem, order = make_problem(), [1, 3, 0, 2]
    settings = {"concepts_a_class": 2, "scale": 50.0, "epochs": 20, "learning_rates": (0.03,)}
    plain = labo(
        problem.train, problem.valid, problem.concepts, problem.phrases, problem.describes,
        **settings,
    )  # fmt: skip
    describes = np.empty_like(problem.describes)
    describes[order] = problem.describes
    renamed = labo(
        relabelled(problem.train, order),
        relabelled(problem.valid, order),
        problem.concepts,
        problem.phrases,
        describes,
        **settings,
    )
    assert plain.phrases == renamed.phrases
    np.testing.assert_allclose(renamed.head[order], plain.head, atol=1e-2)


def test_a_class_without_candidates_is_told():
    with pytest.raises(UserError, match="no candidate concept for class 1"):
        greedy_selection(np.zeros(2), np.eye(2), np.array([[True, True], [False, False]]), 1)
