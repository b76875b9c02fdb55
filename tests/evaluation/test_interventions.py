import jax
import numpy as np
import pytest

from jaxcbm.errors import UserError
from jaxcbm.evaluation.interventions import POLICIES, InterventionCurve, intervention_curve
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.concept_values import concept_values, replacements

IMAGES, CONCEPTS, CLASSES = 60, 7, 4


@pytest.fixture(scope="module")
def problem():
    """Classes are patterns of concepts; activations tell of them through much noise."""
    rng = np.random.default_rng(0)
    pattern = (rng.random((CLASSES, CONCEPTS)) < 0.5).astype(float)
    labels = rng.integers(0, CLASSES, IMAGES)
    present = pattern[labels]
    activations = (2 * present - 1 + rng.normal(0, 2.0, present.shape)).astype(np.float32)
    head = (2 * pattern - 1 + 0.1 * rng.normal(size=pattern.shape)).astype(np.float32)
    bias = -pattern.sum(axis=1)
    values = concept_values(activations, present)
    return {
        "class_logits_NxK": activations @ head.T + bias,
        "activations_NxD": activations,
        "head_KxD": head,
        "labels_N": labels,
        "replacements_NxD": replacements(values, present),
        "values": values,
        "calibration": fit_calibration(
            *(activations, labels, activations, activations @ head.T + bias, labels),
            *(present, present),
        ),
    }


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(jax.nn.log_softmax(np.asarray(logits, np.float32), axis=-1))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def moved_along(problem: dict, image: int, concepts: np.ndarray) -> np.ndarray:
    """Bayes' rule over classes, in plain NumPy: activations after answers about some concepts."""
    record, values = problem["calibration"], problem["values"]
    own = problem["activations_NxD"][image].astype(np.float64)
    likely = 1 / (1 + np.exp(-(values.slope * own + values.offset)))
    before = softmax(problem["class_logits_NxK"][image] / record.temperature)
    after = before.copy()
    for d in concepts:
        is_there = problem["replacements_NxD"][image, d] == values.present[d]
        q = record.frequencies[:, d].astype(np.float64)
        after = after * (q if is_there else 1 - q)
        after = after / after.sum()
    now = np.clip(likely + (after - before) @ record.frequencies, 0, 1)
    return own + (values.present - values.absent) * (now - likely)


def replay(problem: dict, curve: InterventionCurve, step: int, carried: bool) -> np.ndarray:
    """Class logits after the first concepts that the curve asked for, computed from scratch."""
    changed = problem["activations_NxD"].astype(np.float64)
    for image, concepts in enumerate(curve.asked[:, :step]):
        if carried:
            changed[image] = moved_along(problem, image, concepts[concepts >= 0])
        for d in concepts[concepts >= 0]:
            changed[image, d] = problem["replacements_NxD"][image, d]
    moved = (changed - problem["activations_NxD"]) @ problem["head_KxD"].T
    return problem["class_logits_NxK"] + moved


@pytest.mark.parametrize("policy", POLICIES)
def test_every_point_is_what_the_model_says_with_those_concepts_set(problem, policy):
    curve = intervention_curve(**problem, policy=policy)
    assert curve.counts.tolist() == list(range(CONCEPTS + 1))
    # Every concept of every image, each once.
    np.testing.assert_array_equal(np.sort(curve.asked, axis=1), [list(range(CONCEPTS))] * IMAGES)
    for step in curve.counts:
        logits = replay(problem, curve, step, policy == "carried")
        right = np.mean(logits.argmax(axis=1) == problem["labels_N"])
        assert curve.accuracies[step] == pytest.approx(right)


def test_all_policies_start_and_end_alike_and_true_values_help(problem):
    curves = {policy: intervention_curve(**problem, policy=policy) for policy in POLICIES}
    for curve in curves.values():
        assert curve.accuracies[0] == curves["random"].accuracies[0] < 0.9
        assert curve.accuracies[-1] == 1.0
    area = {policy: curve.accuracies.mean() for policy, curve in curves.items()}
    assert area["oracle"] > area["greedy"] > area["random"]
    assert area["carried"] > area["greedy"]


def test_oracle_takes_the_best_step(problem):
    curve = intervention_curve(**problem, policy="oracle", steps=1)
    change = problem["replacements_NxD"] - problem["activations_NxD"]
    for image, label in enumerate(problem["labels_N"]):
        after = problem["class_logits_NxK"][image] + change[image][:, None] * problem["head_KxD"].T
        assert curve.asked[image, 0] == log_softmax(after)[:, label].argmax()


def test_greedy_asks_for_the_most_informative_answer(problem):
    curve = intervention_curve(**problem, policy="greedy", steps=1)
    values, head = problem["values"], problem["head_KxD"].astype(np.float64)

    def entropy(p: np.ndarray) -> float:
        return float(-np.sum(p * np.log(p)))

    for image in range(0, IMAGES, 7):
        information = []
        for d in range(CONCEPTS):
            a = float(problem["activations_NxD"][image, d])
            belief = 1 / (1 + np.exp(-(values.slope[d] * a + values.offset[d])))
            outcomes = []
            for value in (values.absent[d], values.present[d]):
                logits = problem["class_logits_NxK"][image] + head[:, d] * (value - a)
                outcomes.append(np.exp(logits) / np.exp(logits).sum())
            absent, present = outcomes
            mean = belief * present + (1 - belief) * absent
            expected = belief * entropy(present) + (1 - belief) * entropy(absent)
            information.append(entropy(mean) - expected)
        assert curve.asked[image, 0] == np.argmax(information)


def test_uncertain_starts_at_the_coin_toss(problem):
    activations = np.full((1, CONCEPTS), 50.0)
    threshold = -problem["values"].offset / problem["values"].slope
    activations[0, 3] = threshold[3]
    one = {**problem, "activations_NxD": activations, "labels_N": np.array([0])}
    for name in ("class_logits_NxK", "replacements_NxD"):
        one[name] = problem[name][:1]
    assert intervention_curve(**one, policy="uncertain", steps=1).asked.tolist() == [[3]]


@pytest.mark.parametrize("policy", sorted(set(POLICIES) - {"oracle"}))
def test_only_the_oracle_knows_labels_and_answers(problem, policy):
    here = intervention_curve(**problem, policy=policy, steps=1)
    other_answers = problem["replacements_NxD"][::-1]
    other_labels = problem["labels_N"][::-1]
    there = intervention_curve(
        **{**problem, "labels_N": other_labels, "replacements_NxD": other_answers},
        policy=policy,
        steps=1,
    )
    np.testing.assert_array_equal(here.asked, there.asked)
    assert not np.array_equal(here.accuracies, there.accuracies)


def test_unknown_concepts_are_never_set(problem):
    known = problem["replacements_NxD"].copy()
    known[:, 2] = np.nan
    known[5] = np.nan
    curve = intervention_curve(**{**problem, "replacements_NxD": known}, policy="greedy")
    assert curve.asked.shape == (IMAGES, CONCEPTS - 1)
    assert not (curve.asked == 2).any()
    assert (curve.asked[5] == -1).all() and (np.delete(curve.asked, 5, axis=0) >= 0).all()


def test_random_follows_its_seed(problem):
    one, same, other = (
        intervention_curve(**problem, policy="random", seed=seed).asked for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    # Every image has an order of its own.
    assert len(np.unique(one, axis=0)) > IMAGES / 2


def test_blocks_of_images_change_nothing(problem, monkeypatch):
    whole = intervention_curve(**problem, policy="greedy")
    monkeypatch.setattr("jaxcbm.evaluation.interventions._BLOCK", 13 * CONCEPTS * CLASSES)
    parts = intervention_curve(**problem, policy="greedy")
    np.testing.assert_array_equal(whole.asked, parts.asked)
    np.testing.assert_allclose(whole.accuracies, parts.accuracies, rtol=1e-5)


def test_faults_are_named(problem):
    with pytest.raises(UserError, match=r"'best'.*random, uncertain, greedy, oracle"):
        intervention_curve(**problem, policy="best")
    nothing = np.full((IMAGES, CONCEPTS), np.nan)
    with pytest.raises(UserError, match="no concept's true value is known"):
        intervention_curve(**{**problem, "replacements_NxD": nothing})
