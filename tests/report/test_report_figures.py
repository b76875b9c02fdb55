import dataclasses
import re

import numpy as np
import pytest
from synthetic_result import PHRASES, synthetic_result

from jaxcbm.evaluation.results.schema import (
    ClassWeights,
    Interventions,
    NecCurves,
    ReliabilityDiagram,
    Weights,
)
from jaxcbm.report.figures import (
    intervention_figures,
    nec_figure,
    reliability_figures,
    strongest,
    weight_ribbons,
)


def shapes(svg, style):
    """Corners [N, 2] of every path whose style begins so; downwards is positive."""
    drawn = re.findall(rf'<path [^>]*?d="([^"]*)"[^>]*? style="{re.escape(style)}', svg)
    return [np.array(re.findall(r"-?[\d.]+", path), float).reshape(-1, 2) for path in drawn]


def curves(svg, count=8):
    """Points of the curves, by their number."""
    return [shapes(svg, f"fill: none; stroke: var(--c{i})") for i in range(count)]


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)", svg)


def with_curves(**curves):
    result = synthetic_result()
    rows = tuple(
        dataclasses.replace(result.rows[0], name=name, nec_curve=curve)
        for name, curve in curves.items()
    )
    return dataclasses.replace(result, rows=rows, seeds=(0, 1, 2))


def test_nec_curves_stand_where_their_numbers_are():
    targets = (5.0, 10.0, 20.0)
    ours = NecCurves(targets, ((0.4, 0.6, 0.8), (0.6, 0.6, 0.8), (0.5, 0.6, 0.8)))
    other = NecCurves(targets[1:], ((0.7, 0.6),))
    (drawing,) = nec_figure(with_curves(ours=ours, other=other), "birds")
    ((line,), (second,), *rest) = curves(drawing.svg)
    assert not any(rest)
    x, y = np.diff(line, axis=0).T
    # Twice as far across, and 20 points above after 10.
    assert x[1] == pytest.approx(2 * x[0], abs=0.05) and y[1] == pytest.approx(2 * y[0], abs=0.05)
    assert y[0] < 0 < x[0]
    np.testing.assert_allclose(second[:, 0], line[1:, 0], atol=0.02)
    assert second[1, 1] == pytest.approx(line[1, 1], abs=0.02)
    assert second[0, 1] == pytest.approx((line[1, 1] + line[2, 1]) / 2, abs=0.02)
    assert texts(drawing.legend) == ["ours", "other"] and "top-1" in texts(drawing.svg)


def test_methods_without_a_path_have_no_curve():
    result = synthetic_result()
    (drawing,) = nec_figure(result, "birds")
    named = {row.name for row in result.rows if row.nec_curve}
    assert len(named) == 6 and set(texts(drawing.legend)) == named
    assert nec_figure(dataclasses.replace(result, rows=result.rows[-1:]), "birds") == []


def test_a_policy_looks_alike_in_every_models_picture():
    def made(row, policy, level):
        return Interventions(row, policy, "expert", (0, 1), ((level, level), (level, level)))

    listed = (made("a", "random", 0.5), made("a", "oracle", 0.6), made("b", "oracle", 0.7))
    result = dataclasses.replace(synthetic_result(), interventions=listed)
    first, second = intervention_figures(result, "birds")
    assert [len(lines) for lines in curves(first.svg, 3)] == [1, 1, 0]
    assert [len(lines) for lines in curves(second.svg, 3)] == [0, 1, 0]
    assert (first.title, second.title) == ("a", "b")
    assert texts(first.legend) == [f"{p}, values from expert" for p in ("oracle", "random")]


def test_calibration_error_by_hand():
    nan = float("nan")
    bins = ReliabilityDiagram("a", (0.5, nan, 0.9), (0.6, nan, 0.5), (30, 0, 10))
    result = dataclasses.replace(synthetic_result(), reliability=(bins,))
    (drawing,) = reliability_figures(result, "birds")
    assert "ECE 17.5 %" in drawing.caption and "nan" not in drawing.svg
    # The curve of the two groups that have images, beside the dashed diagonal.
    (line,) = curves(drawing.svg, 1)[0]
    (diagonal,) = shapes(drawing.svg, "fill: none; stroke-dasharray")
    across, up = np.diff(diagonal, axis=0)[0]
    assert np.diff(line, axis=0)[0] == pytest.approx((0.4 * across, -0.1 * up), abs=0.1)


def test_a_model_without_images_has_no_reliability():
    empty = ReliabilityDiagram("a", (), (), ())
    unknown = ReliabilityDiagram("a", (float("nan"),), (0.5,), (3,))
    result = dataclasses.replace(synthetic_result(), reliability=(empty, unknown))
    assert reliability_figures(result, "birds") == []


def test_strongest_weights_of_both_signs():
    weights = dict(zip(PHRASES, [9, 8, 7, 6, 5, -1, -2, -3, -4], strict=False))
    chosen = [weight for _, weight in strongest(ClassWeights("a", weights))]
    assert chosen == [9, 8, 7, 6, -2, -3, -4]


def test_ribbons_are_as_wide_as_weights_and_fill_their_nodes():
    classes = (ClassWeights("a", {"x": 3.0, "y": -1.0}), ClassWeights("b", {"x": 2.0}))
    svg = weight_ribbons(Weights("r", classes), "birds")
    positive, negative = (shapes(svg, f"fill: var(--{sign})") for sign in ("positive", "negative"))
    assert len(positive) == 2 and len(negative) == 1
    # Four corners over, four back below.
    for ribbon in (*positive, *negative):
        assert ribbon[7, 1] - ribbon[0, 1] == pytest.approx(ribbon[4, 1] - ribbon[3, 1], abs=0.05)
    widths = [ribbon[7, 1] - ribbon[0, 1] for ribbon in (*negative, *positive)]
    assert [w / widths[0] for w in sorted(widths)] == pytest.approx([1, 2, 3], rel=0.02)
    nodes = shapes(svg, "fill: var(--text)")
    heights = sorted(np.ptp(node[:, 1]) for node in nodes)
    assert [h / widths[0] for h in heights] == pytest.approx([1, 2, 4, 5], rel=0.02)
    assert set(texts(svg)) == {"x", "y", "a", "b"}


def test_many_classes_have_no_ribbons():
    classes = tuple(ClassWeights(str(k), {"x": 1.0}) for k in range(13))
    assert weight_ribbons(Weights("r", classes[:12]), "birds")
    assert weight_ribbons(Weights("r", classes), "birds") == ""
    assert weight_ribbons(Weights("r", (ClassWeights("a", {}),)), "birds") == ""
