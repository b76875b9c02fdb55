from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from concept_problem import accuracy, make_problem

from jaxcbm.baselines.concept_classifier import (
    ConceptClassifier,
    activations,
    as_path_of_one,
    class_logits,
    labelled,
    standardised,
    with_sparse_path,
)
from jaxcbm.baselines.post_hoc import text_bottleneck
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.evaluation.calibration import negative_log_likelihood


def random_model(gates, seed=0, width=16, concepts=12, classes=4):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    gate = (4 * draw(width, concepts), draw(concepts)) if gates else (None, None)
    return ConceptClassifier(
        draw(width, concepts),
        draw(concepts) + 3,
        draw(classes, concepts),
        draw(classes),
        tuple(f"concept {d}" for d in range(concepts)),
        *gate,
        residual_kernel=draw(width, classes),
    )


@pytest.mark.parametrize("gates", [False, True])
def test_logits_are_the_definition_written_out(gates):
    model, rows = random_model(gates), make_problem().test.as_array()[:7]
    for row, logits in zip(rows, class_logits(model, rows), strict=True):
        values = row @ model.concept_kernel + model.concept_bias
        for d in range(12):
            if gates:
                open_d = 1 / (1 + np.exp(-(row @ model.gate_kernel[:, d] + model.gate_bias[d])))
                values[d] = values[d] * open_d if open_d >= 0.01 else 0
        assert 0 < np.count_nonzero(values) < (12 if gates else 13)
        expected = model.head @ values + model.head_bias + row @ model.residual_kernel
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gates", [False, True])
def test_standardising_changes_activations_and_not_the_function(gates):
    model, rows = random_model(gates), make_problem().train.as_array()
    same = standardised(model, rows)
    np.testing.assert_allclose(class_logits(same, rows), class_logits(model, rows), atol=2e-3)
    values = activations(same, rows)
    moving = values.std(axis=0) > 0
    np.testing.assert_allclose(values.std(axis=0)[moving], 1, atol=1e-3)
    if gates:
        np.testing.assert_array_equal(values == 0, activations(model, rows) == 0)
    else:
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)


def test_the_chosen_head_is_the_sparsest_good_one():
    problem = make_problem()
    bottleneck = text_bottleneck(problem.concepts, problem.phrases, 4)
    model, choice = with_sparse_path(bottleneck, problem.train, problem.valid)
    rows = choice.standardise(activations(model, problem.valid.as_array()))
    path = choice.path.unpack(len(choice.mean))
    accuracies = [
        accuracy(rows @ np.asarray(W).T + np.asarray(b), problem.valid)
        for W, b in zip(path.weights, path.biases, strict=True)
    ]
    np.testing.assert_allclose(choice.valid_top1, accuracies, atol=1e-6)
    losses = np.array(
        [
            negative_log_likelihood(rows @ np.asarray(W).T + np.asarray(b), problem.valid.labels)
            for W, b in zip(path.weights, path.biases, strict=True)
        ]
    )
    assert choice.chosen == np.flatnonzero(losses <= 1.02 * losses.min())[0]
    assert accuracy(class_logits(model, problem.valid.as_array()), problem.valid) == pytest.approx(
        accuracies[choice.chosen]
    )
    np.testing.assert_array_equal(model.head != 0, path.weights[choice.chosen] != 0)
    assert np.max(choice.path.certificate) <= 5e-3
    assert accuracy(class_logits(model, problem.test.as_array()), problem.test) > 0.8


@pytest.mark.parametrize("share", [0.0, 0.75])
def test_annotated_models_may_learn_from_a_corrected_copy(share, monkeypatch):
    problem, seen = make_problem(), {}

    def remember(rows, labels, *others, weights):
        seen.update(rows=rows, labels=labels, weights=weights)
        return SimpleNamespace(head=np.zeros((4, 12)), bias=np.zeros(4))

    monkeypatch.setattr("jaxcbm.baselines.concept_classifier.choose_sparse_head", remember)
    unknown = np.where(np.arange(300) < 150, -1, problem.train.labels)
    train = replace(problem.train, labels=unknown.astype(np.int32))
    bottleneck = text_bottleneck(problem.concepts, problem.phrases, 4)
    settings = {"intervened": share, "copy_weight": 0.25}
    model, _ = with_sparse_path(bottleneck, train, problem.valid, **settings)
    rows, present = activations(model, train.as_array()[150:]), train.annotations[150:]
    if share == 0:
        np.testing.assert_array_equal(seen["rows"], rows)
        assert seen["weights"] is None
        return
    copy = rows.copy()
    for d in range(12):
        for there in (0, 1):
            copy[present[:, d] == there, d] = rows[present[:, d] == there, d].mean()
    corrected = np.random.default_rng(0).random(rows.shape) < share
    expected = np.concatenate([rows, np.where(corrected, copy, rows)])
    np.testing.assert_allclose(seen["rows"], expected, atol=1e-5)
    np.testing.assert_array_equal(seen["labels"], np.tile(train.labels[150:], 2))
    np.testing.assert_array_equal(seen["weights"], np.repeat([1.0, 0.25], 150))


def test_a_dense_head_is_cut_to_its_largest_weights():
    problem = make_problem()
    model, rows = random_model(gates=False), problem.test.as_array()
    choice = as_path_of_one(model, problem.valid)
    concept_only = model._replace(residual_kernel=None)
    curve = choice.curve(activations(model, rows), problem.test.labels, targets=(1, 5, 12))
    for target, found in zip((1, 5, 12), curve.accuracies, strict=True):
        limit = np.sort(np.abs(model.head).ravel())[::-1][4 * target - 1]
        cut = concept_only._replace(head=np.where(np.abs(model.head) >= limit, model.head, 0))
        assert float(found) == pytest.approx(accuracy(class_logits(cut, rows), problem.test))
    whole = class_logits(concept_only, problem.valid.as_array())
    assert choice.valid_top1[0] == pytest.approx(accuracy(whole, problem.valid))


def test_the_curve_at_full_nec_is_the_last_head():
    problem = make_problem()
    bottleneck = text_bottleneck(problem.concepts, problem.phrases, 4)
    model, choice = with_sparse_path(bottleneck, problem.train, problem.valid, path_length=10)
    rows = activations(model, problem.test.as_array())
    curve = choice.curve(rows, problem.test.labels, targets=(1, 3, 12))
    path = choice.path.unpack(len(choice.mean))
    W, b = np.asarray(path.weights[-1]), np.asarray(path.biases[-1])
    expected = accuracy(choice.standardise(rows) @ W.T + b, problem.test)
    assert float(curve.accuracies[2]) == pytest.approx(expected)
    assert 0.4 < float(curve.accuracies[0]) <= float(curve.accuracies[1]) + 0.02


def test_validation_chooses_a_head_and_trains_nothing():
    problem = make_problem()
    bottleneck = text_bottleneck(problem.concepts, problem.phrases, 4)
    one_class = Features.from_arrays(
        problem.valid.as_array(), np.zeros(len(problem.valid), int), problem.valid.classes
    )
    model, choice = with_sparse_path(bottleneck, problem.train, problem.valid)
    other, same = with_sparse_path(bottleneck, problem.train, one_class)
    for part, other_part in zip(choice.path, same.path, strict=True):
        np.testing.assert_array_equal(part, other_part)
    np.testing.assert_array_equal(model.concept_kernel, other.concept_kernel)
    # Classes are equally frequent: the emptiest head predicts the first one everywhere.
    assert model.head.any() and not other.head.any()


def test_scale_and_offset_of_concepts_do_not_matter():
    problem = make_problem()
    plain = text_bottleneck(problem.concepts, problem.phrases, 4)
    sizes = np.geomspace(0.01, 100, 12).astype(np.float32)
    moved = plain._replace(concept_kernel=plain.concept_kernel * sizes, concept_bias=7 * sizes)
    rows = problem.test.as_array()
    one, other = (
        class_logits(with_sparse_path(model, problem.train, problem.valid)[0], rows)
        for model in (plain, moved)
    )
    np.testing.assert_allclose(one, other, atol=0.05)


def test_images_without_a_label_are_left_out():
    problem = make_problem()
    labels = problem.train.labels.copy()
    labels[::3] = -1
    some = Features.from_arrays(problem.train.as_array(), labels, problem.train.classes)
    rows, known = labelled(some)
    np.testing.assert_array_equal(rows, problem.train.as_array()[labels >= 0])
    np.testing.assert_array_equal(known, labels[labels >= 0])
    none = Features.from_arrays(rows, np.full(len(rows), -1), some.classes)
    with pytest.raises(UserError, match="none of the images has a label"):
        labelled(none)
