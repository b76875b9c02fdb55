"""The largest contributions of many images at once are those of each image by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.explain import contributions
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.strongest import strongest


def predicted(rng, images: int, concepts: int, calibrated: bool) -> Prediction:
    """Activations of few different values, so that many contributions are equal."""
    rows = rng.integers(-3, 4, (images, concepts)).astype(np.float32)
    logits, labels = rng.standard_normal((images, 2)), np.arange(images) % 2
    known = fit_calibration(rows, labels, rows, logits, labels) if calibrated else None
    return Prediction.of(logits, ("owl", "wren"), rows, rows, rows, known)


@given(
    st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 9), st.integers(0, 12), st.booleans()
)
def test_they_are_the_first_of_a_stable_sort(seed, images, concepts, k, calibrated):
    rng = np.random.default_rng(seed)
    prediction = predicted(rng, images, concepts, calibrated)
    weights_NxD = rng.integers(-1, 2, (images, concepts)).astype(np.float32)
    found = strongest(prediction, weights_NxD, k)
    values_NxD = weights_NxD * prediction.evidence
    order_NxD = np.argsort(-np.abs(values_NxD), axis=1, kind="stable")
    np.testing.assert_array_equal(found.columns, order_NxD[:, :k])
    np.testing.assert_array_equal(
        found.values, np.take_along_axis(values_NxD, found.columns, axis=1)
    )


@pytest.mark.parametrize("calibrated", [False, True])
def test_an_image_alone_has_the_same(calibrated):
    rng = np.random.default_rng(0)
    prediction, phrases = predicted(rng, 6, 9, calibrated), [f"phrase {d}" for d in range(9)]
    weights_NxD = rng.standard_normal((6, 9)) * (rng.random((6, 9)) < 0.5)
    found = strongest(prediction, weights_NxD, 4)
    for n in range(6):
        alone = contributions(prediction.select([n]), weights_NxD[n], phrases, 4)
        kept = found.values[n] != 0.0
        assert [c.phrase for c in alone] == [phrases[d] for d in found.columns[n][kept]]
        assert [c.value for c in alone] == found.values[n][kept].tolist()
        assert [c.present for c in alone] == found.present[n][kept].tolist()
        told = [(c.probability, c.percentile) for c in alone]
        both = np.stack([found.probabilities[n][kept], found.percentiles[n][kept]], axis=1)
        np.testing.assert_array_equal(np.array(told).reshape(-1, 2), both)
        if calibrated:
            all_D = prediction.calibration.percentiles(prediction.concept_activations[n])
            np.testing.assert_array_equal(found.percentiles[n], all_D[found.columns[n]])
