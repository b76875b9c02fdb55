import io

import numpy as np
import pytest
from PIL import Image

from jaxcbm.evaluation import plots
from jaxcbm.evaluation.calibration import SCHEMES, reliability


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
    curves = {f"model {i}": ([5, 10, 15], [[0.1 * i, 0.1 * i + 0.05, 0.1 * i]]) for i in range(8)}
    pixels = pixels_of(lambda file: plots.nec_curves(curves, file))
    for color in plots._COLORS[:8]:
        assert ink(pixels, color) > 100
    assert ink(pixels, plots._COLORS[8]) < 30


def test_more_curves_than_colours_still_differ():
    curves = {f"model {i}": ([5, 10], [0.01 * i, 0.02 * i]) for i in range(23)}
    figure, axes = plots._many_curves(curves, {})
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}
    assert len(looks) == 23
    assert len(figure.legends[0].get_texts()) == 23


def test_seeds_become_a_mean_and_a_band():
    rows = np.array([[0.5, 0.6], [0.7, 0.8]])
    _, axes = plots._many_curves({"ours": ([5, 10], rows)}, {})
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.6, 0.7])
    assert len(axes.collections) == 1
    _, axes = plots._many_curves({"ours": ([5, 10], rows[0])}, {})
    assert len(axes.collections) == 0


def test_a_far_reference_is_named_and_does_not_flatten_the_curves():
    curves = {"ours": ([5, 10, 15], [0.68, 0.7, 0.71])}
    references = {"linear probe": 0.72, "zero-shot": 0.03}
    figure, axes = plots._many_curves(curves, references)
    assert axes.get_ylim()[0] > 0.6
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["linear probe: 72.0%", "ours", "zero-shot: 3.0% (below)"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reliability_of_several_models(scheme):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(300, 4)), rng.integers(0, 4, 300)
    groups = {
        f"temperature {t}": reliability(logits, labels, scheme=scheme, temperature=t)
        for t in (0.5, 1.0)
    }
    pixels = pixels_of(lambda file: plots.reliability_diagram(groups, file))
    assert ink(pixels, plots._COLORS[0]) > 300 and ink(pixels, plots._COLORS[1]) > 300


def test_interventions_write_a_file(tmp_path):
    curves = {"expert, greedy": (np.arange(58), np.linspace(0.5, 1.0, 58))}
    plots.intervention_curves(curves, tmp_path / "interventions.png")
    with Image.open(tmp_path / "interventions.png") as picture:
        assert picture.size[0] > 600
