import io

import numpy as np
import pytest
from PIL import Image

from jaxcbm.evaluation import plots
from jaxcbm.evaluation.calibration import SCHEMES, reliability
from jaxcbm.palette import CURVES


def pixels_of(draw) -> np.ndarray:
    """What `draw(file)` wrote, decoded."""
    file = io.BytesIO()
    draw(file)
    file.seek(0)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def ink(pixels: np.ndarray, color: str) -> int:
    """How many pixels have nearly this colour."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=2) < 8).sum())


def test_every_curve_has_a_colour_of_its_own():
    curves = {f"policy {i}": [0.1 * i, 0.1 * i + 0.05, 0.1 * i] for i in range(8)}
    pixels = pixels_of(lambda file: plots.intervention_curves(curves, file))
    for color in CURVES[:8]:
        assert ink(pixels, color) > 100
    assert ink(pixels, CURVES[8]) < 30


@pytest.mark.parametrize("test", [[], [(5.0, 0.6), (10.0, 0.7)]])
def test_the_path_on_validation_and_the_cuts_on_test(test):
    path = [(0.0, 0.1), (4.0, 0.6), (9.0, 0.8)]
    pixels = pixels_of(lambda file: plots.nec_curve(path, test, 4.0, file))
    assert ink(pixels, CURVES[0]) > 300
    assert (ink(pixels, CURVES[1]) > 300) == bool(test)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reliability_of_several_models(scheme):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 4)), rng.integers(0, 4, 300)
    groups = {
        f"temperature {t}": reliability(logits, labels, scheme=scheme, temperature=t)
        for t in (0.5, 1.0)
    }
    pixels = pixels_of(lambda file: plots.reliability_diagram(groups, file))
    assert ink(pixels, CURVES[0]) > 300 and ink(pixels, CURVES[1]) > 300
