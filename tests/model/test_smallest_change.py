"""The smallest change against every subset of concepts, on problems small enough for it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.model.calibration import Calibration, fit_calibration
from jaxcbm.model.smallest_change import smallest_change

CONCEPTS, CLASSES = 6, 4


def problem(seed: int, sharpness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, Calibration]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, 40)
    present = (rng.random((40, CONCEPTS)) < 0.5).astype(float)
    rows = (present * 2 + rng.normal(size=present.shape)).astype(np.float32)
    head = rng.normal(size=(CLASSES, CONCEPTS)) * (rng.random((CLASSES, CONCEPTS)) < 0.7)
    bias = sharpness * rng.normal(size=CLASSES)
    logits = rows @ head.T + bias
    record = fit_calibration(rows, labels, rows, logits, labels, present, present)
    return logits[0], rows[0].astype(np.float64), head, record


def fewest_by_brute_force(logits, activations, head, record, decided, others):
    """Every way to set every subset of concepts to either of their values."""
    for count in range(CONCEPTS + 1):
        for columns in itertools.combinations(range(CONCEPTS), count):
            for values in itertools.product((0, 1), repeat=count):
                after = activations.copy()
                for d, there in zip(columns, values, strict=True):
                    after[d] = record.present[d] if there else record.absent[d]
                moved = logits + head @ (after - activations)
                if any(moved[k] > moved[decided] for k in others):
                    return count
    return None


@given(st.integers(0, 300), st.sampled_from([0.0, 2.0, 8.0]))
def test_no_smaller_change_exists_and_this_one_does_it(seed, sharpness):
    logits, activations, head, record = problem(seed, sharpness)
    decided = int(np.argmax(logits))
    for others in (None, [int(np.argmin(logits)) if sharpness else (decided + 1) % CLASSES]):
        found = smallest_change(logits, activations, head, record, decided, others)
        among = [k for k in range(CLASSES) if k != decided] if others is None else others
        fewest = fewest_by_brute_force(logits, activations, head, record, decided, among)
        if found is None:
            assert fewest is None
            continue
        assert len(found.corrections) == fewest and found.class_id in among
        after = activations.copy()
        for c in found.corrections:
            assert c.value == (record.present if c.present else record.absent)[c.column]
            after[c.column] = c.value
        moved = logits + head @ (after - activations)
        assert moved[found.class_id] > moved[decided]
        gains = [c.gain for c in found.corrections]
        assert gains == sorted(gains, reverse=True)
        margin = logits[decided] - logits[found.class_id]
        assert sum(gains) - margin == pytest.approx(moved[found.class_id] - moved[decided])


def test_a_class_that_nothing_can_reach_has_none():
    logits, activations, head, record = problem(0, 1.0)
    order = np.argsort(-logits)
    blind = np.zeros_like(head)
    assert smallest_change(logits, activations, blind, record, order[0], [order[1]]) is None
    ahead = smallest_change(logits, activations, blind, record, order[1], [order[0]])
    assert ahead is not None and ahead.corrections == ()
