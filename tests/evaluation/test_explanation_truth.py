"""Whether reasons are counted as true where annotations say so, and as nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.evaluation.explanation_truth import clarity, concept_ece, explanation_truth
from jaxcbm.evaluation.faithfulness import faithfulness
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.prediction import Prediction


def problem(seed: int, images: int = 60, concepts: int = 7, classes: int = 4):
    """A prediction with a calibration, its head, labels, and annotations of which some are NaN."""
    rng = np.random.default_rng(seed)
    present = (rng.random((images, concepts)) < 0.4).astype(float)
    rows = (present * 2 + rng.normal(0, 1.5, present.shape)).astype(np.float32)
    head = rng.normal(size=(classes, concepts)) * (rng.random((classes, concepts)) < 0.8)
    logits, labels = rows @ head.T + rng.normal(size=classes), rng.integers(0, classes, images)
    record = fit_calibration(rows, labels, rows, logits, labels, present, present)
    prediction = Prediction.of(logits, tuple("abcd"[:classes]), rows, calibration=record)
    present[rng.random(present.shape) < 0.2] = np.nan
    present[:, 1] = np.nan
    return prediction, head, labels, present


def by_hand(prediction, head, labels, present, k):
    """(said to be there, true, right) for each counted reason of each image."""
    record, told = prediction.calibration, []
    for n, label in enumerate(prediction.label_ids):
        reasons = []
        for d in range(head.shape[1]):
            a = float(prediction.concept_activations[n, d])
            value = head[label, d] * (a - record.neutral[d])
            likely = 1 / (1 + np.exp(-(record.slope[d] * a + record.intercept[d])))
            if value > 0:
                reasons.append((value, d, likely > 0.5))
        for _, d, said in sorted(reasons, reverse=True)[:k]:
            if not np.isnan(present[n, d]):
                told.append((said, said == bool(present[n, d]), label == labels[n]))
    return np.array(told)


@pytest.mark.parametrize("seed", range(3))
def test_truth_counted_reason_by_reason(seed):
    given_ = problem(seed)
    found = explanation_truth(*given_)
    for k in (1, 3, 5):
        told = by_hand(*given_, k)
        assert found[f"explanation_truth_{k}"] == pytest.approx(told[:, 1].mean())
    said, true, right = told.T
    for name, which in (("present", said), ("absent", ~said), ("right", right), ("wrong", ~right)):
        assert found[f"explanation_truth_{name}_5"] == pytest.approx(true[which].mean())


def test_who_says_what_is_so_is_always_right_and_the_contrary_never():
    prediction, head, labels, _ = problem(0)
    assert prediction.calibration is not None
    said = prediction.calibration.is_present(prediction.concept_activations).astype(float)
    for present, share in ((said, 1.0), (1 - said, 0.0)):
        assert set(explanation_truth(prediction, head, labels, present).values()) == {share}
    unknown = explanation_truth(prediction, head, labels, np.full(said.shape, np.nan))
    assert all(np.isnan(value) for value in unknown.values())


def test_calibration_error_of_concepts_by_hand():
    prediction, _, _, present = problem(1)
    likely = prediction.concept_probabilities
    known = ~np.isnan(present)
    order = np.argsort(likely[known])
    parts = zip(np.array_split(likely[known][order], 1), [present[known][order]], strict=True)
    expected = np.mean([abs(p.mean() - t.mean()) for p, t in parts])
    assert concept_ece(prediction, present, bins=1) == pytest.approx(expected)
    drawn = (np.random.default_rng(0).random(likely.shape) < likely).astype(float)
    assert concept_ece(prediction, drawn) < 0.1 < concept_ece(prediction, 1 - drawn)
    assert np.isnan(concept_ece(prediction, np.full(present.shape, np.nan)))


@given(st.integers(0, 500))
def test_bars_add_up_and_the_longest_matter_most(seed):
    prediction, head, _, _ = problem(seed)
    found = faithfulness(prediction, head, seed)
    assert found["bar_error"] < 1e-5
    assert found["deletion"] <= found["random_deletion"] + 1e-9
    assert found["insertion"] >= found["random_insertion"] - 1e-9


def test_deletion_step_by_step():
    prediction, head, _, _ = problem(2, images=5)
    rest = prediction.class_logits - prediction.concept_activations @ head.T
    assert prediction.calibration is not None
    means = {"deletion": [], "insertion": []}
    for n, label in enumerate(prediction.label_ids):
        values = head[label] * (prediction.concept_activations[n] - prediction.calibration.neutral)
        order = [d for d in np.argsort(-values) if values[d] != 0]
        for kind in means:
            curve = []
            for step in range(head.shape[1] + 1):
                a = prediction.concept_activations[n].astype(float)
                gone = order[:step] if kind == "deletion" else order[step:]
                a[gone] = prediction.calibration.neutral[gone]
                scaled = (head @ a + rest[n]) / prediction.temperature
                curve.append(np.exp(scaled[label]) / np.exp(scaled).sum())
            means[kind].append(np.mean(curve))
    found = faithfulness(prediction, head)
    for kind, values in means.items():
        assert found[kind] == pytest.approx(np.mean(values), rel=1e-5)


def test_a_decision_that_bars_do_not_make_is_told():
    prediction, head, _, _ = problem(3)
    hidden = np.random.default_rng(0).normal(size=prediction.class_logits.shape)
    other = Prediction.of(
        prediction.class_logits + hidden,
        ("a", "b", "c", "d"),
        prediction.concept_activations,
        calibration=prediction.calibration,
    )
    assert faithfulness(other, head)["bar_error"] > 1.0


@pytest.mark.parametrize("seed", [0, 1])
def test_clarity_counted_concept_by_concept(seed):
    prediction, head, labels, present = problem(seed)
    record, said, true, known = prediction.calibration, 0, 0, 0
    for n, label in enumerate(prediction.label_ids):
        for d in range(head.shape[1]):
            a = prediction.concept_activations[n, d]
            if head[label, d] == 0 or record.slope[d] * a + record.intercept[d] <= 0:
                continue
            said += 1
            if not np.isnan(present[n, d]):
                known, true = known + 1, true + (present[n, d] == 1)
    right = np.mean(prediction.label_ids == labels)
    sparsity, precision = 1 - said / present.size, true / known
    found = clarity(prediction, head, labels, present)
    assert found["concept_sparsity"] == pytest.approx(sparsity)
    assert found["concept_precision"] == pytest.approx(precision)
    harmonic = 3 / (1 / right + 1 / sparsity + 1 / precision)
    assert found["clarity"] == pytest.approx(harmonic)
    assert min(right, sparsity, precision) <= found["clarity"] <= max(right, sparsity, precision)


def test_clarity_is_nothing_where_no_prediction_is_right_and_unknown_where_truth_is():
    prediction, head, labels, present = problem(2)
    never = (prediction.label_ids + 1) % head.shape[0]
    assert clarity(prediction, head, never, present)["clarity"] == 0.0
    unknown = clarity(prediction, head, labels, np.full_like(present, np.nan))
    assert np.isnan(unknown["clarity"]) and np.isnan(unknown["concept_precision"])
