"""Corrections that carry: what is set stays set, and what is independent stays as it was."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_saved_model import small_model

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.errors import UserError
from jaxcbm.model.calibration import Calibration, fit_calibration
from jaxcbm.model.corrections import correct, soft_answers
from jaxcbm.model.model import Model
from jaxcbm.model.prediction import Prediction

CONCEPTS, CLASSES = 5, 3


def problem(seed: int) -> tuple[Prediction, Calibration]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, 90)
    pattern = rng.random((CLASSES, CONCEPTS))
    present = (rng.random((90, CONCEPTS)) < pattern[labels]).astype(float)
    # Some concepts are read the wrong way round: absence raises their activation.
    rows = (present * rng.choice([-2.0, 2.0], CONCEPTS) + rng.normal(size=present.shape)).astype(
        np.float32
    )
    logits = rows @ rng.normal(size=(CONCEPTS, CLASSES))
    record = fit_calibration(rows, labels, rows, logits, labels, present, present)
    return Prediction.of(logits, ("a", "b", "c"), rows, calibration=record), record


@given(st.integers(0, 200), st.lists(st.integers(0, CONCEPTS - 1), max_size=4, unique=True))
def test_what_is_set_is_exact_and_nothing_set_is_nothing_changed(seed, columns):
    prediction, record = problem(seed)
    values = np.linspace(-1, 1, len(columns)).astype(np.float32)
    found = correct(prediction, record, np.array(columns, int), values)
    np.testing.assert_array_equal(found[:, columns], np.tile(values, (len(found), 1)))
    if not columns:
        np.testing.assert_allclose(found, prediction.concept_activations, atol=1e-5)


@given(st.integers(0, 200))
def test_concepts_that_are_as_frequent_in_every_class_carry_nothing(seed):
    prediction, record = problem(seed)
    alike = dataclasses.replace(record, frequencies=np.full_like(record.frequencies, 0.3))
    found = correct(prediction, alike, np.array([1]), np.array([0.5]))
    others = np.delete(np.arange(CONCEPTS), 1)
    np.testing.assert_allclose(
        found[:, others], prediction.concept_activations[:, others], atol=1e-5
    )


def test_an_answer_moves_others_as_bayes_rule_says():
    prediction, record = problem(1)
    for image in range(4):
        before = prediction.class_probabilities[image]
        likely = prediction.concept_probabilities[image]
        after = before * record.frequencies[:, 2] * (1 - record.frequencies[:, 0])
        after = after / after.sum()
        now = np.clip(likely + (after - before) @ record.frequencies, 0, 1)
        expected = prediction.concept_activations[image]
        expected = expected + (record.present - record.absent) * (now - likely)
        told = np.array([record.present[2], record.absent[0]])
        found = correct(prediction, record, np.array([2, 0]), told)[image]
        np.testing.assert_allclose(found[[1, 3, 4]], expected[[1, 3, 4]], rtol=1e-3, atol=1e-4)


def test_the_order_of_answers_does_not_matter():
    prediction, record = problem(2)
    columns, values = np.array([3, 0, 1]), np.array([0.5, -1.0, 2.0], np.float32)
    one = correct(prediction, record, columns, values)
    other = correct(prediction, record, columns[::-1], values[::-1])
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_answers_lie_between_absent_and_present():
    absent, present = jnp.array([-1.0, 3.0, 2.0]), jnp.array([1.0, -1.0, 2.0])
    for value, expected in ((-9.0, [0.0, 1.0, 0.5]), (1.0, [1.0, 0.5, 0.5])):
        assert soft_answers(jnp.full(3, value), absent, present).tolist() == expected


def test_a_model_carries_when_asked_to_and_not_without_its_record():
    phrases = ("long tail", "red crown", "spots", "blue wing", "short bill")
    model = small_model(ConceptSet.from_phrases(phrases))
    rows = np.eye(3, 4, dtype=np.float32)
    labels = np.array([0, 1, 1])

    class Fixed(Model):
        def predict(self, images):
            return self.predict_embeddings(rows)

    fixed = Fixed(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})
    with pytest.raises(UserError, match="without a calibration"):
        fixed.intervene(rows, {"spots": 0.0}, carry=True)
    with pytest.raises(UserError, match="without a calibration: give activations"):
        fixed.intervene(rows, {"spots": False})
    said = fixed.predict(rows)
    record = fit_calibration(
        said.concept_activations, labels, said.concept_activations, said.class_logits, labels
    )
    fixed = dataclasses.replace(fixed, calibration=record)
    plain = fixed.intervene(rows, {"spots": 0.25})
    moved = fixed.intervene(rows, {"spots": 0.25}, carry=True)
    for found in (plain, moved):
        assert (found.concept_activations[:, 2] == 0.25).all()
        logits = found.concept_activations @ fixed.head.T + fixed.params["head.bias"]
        np.testing.assert_allclose(found.class_logits, logits, rtol=1e-5, atol=1e-6)
    for word, known in (("present", record.present), ("absent", record.absent)):
        for told in (word, word == "present", np.bool_(word == "present")):
            said_so = fixed.intervene(rows, {"spots": told}).concept_activations[:, 2]
            np.testing.assert_allclose(said_so, known[2], rtol=1e-6)
    for wrong in ("gone", "0.5", None, np.nan, [1.0, 2.0]):
        with pytest.raises(UserError, match=r"'spots': .*: give a finite number, 'present' or"):
            fixed.intervene(rows, {"spots": wrong})
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(
        plain.concept_activations[:, others], said.concept_activations[:, others]
    )
    assert np.abs(moved.concept_activations - plain.concept_activations)[:, others].max() > 1e-3
