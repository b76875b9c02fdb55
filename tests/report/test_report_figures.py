import dataclasses
import re

import pytest
from synthetic_result import PHRASES, synthetic_result

from jaxcbm.evaluation.results.schema import ClassWeights, NecCurves, ReliabilityDiagram, Weights
from jaxcbm.report.axes import Axis, Curve, fitted_axis, line_chart
from jaxcbm.report.figures import calibration_error, nec_figure, reliability_figures
from jaxcbm.report.weights import ribbons, strongest, weight_bars


def points(svg, kind):
    drawn = re.findall(rf"<polyline class='{kind}' points='([^']*)'", svg)
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in drawn]


def test_curves_are_where_their_numbers_are():
    x, y = Axis("x", 10.0, 20.0), Axis("y", 0.0, 1.0)
    svg = line_chart("t", [Curve("a", [(10.0, 0.0), (15.0, 0.25), (20.0, 1.0)])], x, y)
    ((low, middle, high),) = points(svg, "s0")
    bottom, top = points(svg, "grid")[0], points(svg, "grid")[-1]
    assert [low, high] == [bottom[0], top[1]]
    assert middle[0] == pytest.approx((low[0] + high[0]) / 2, abs=0.11)
    assert middle[1] == pytest.approx(low[1] + (high[1] - low[1]) / 4, abs=0.11)


def test_a_gap_in_a_curve_stays_a_gap():
    axis, nan = Axis("x", 0.0, 4.0), float("nan")
    spots = [(0.0, 1.0), (1.0, 1.0), (2.0, nan), (3.0, 1.0), (4.0, 1.0)]
    svg = line_chart("t", [Curve("a", spots, [0.1, 0.1, nan, 0.1, 0.1])], axis, axis)
    assert [len(line) for line in points(svg, "s0")] == [2, 2]
    assert "nan" not in svg


@pytest.mark.parametrize("values", [[], [0.5], [0.7, 0.7], [0.0, 1e-12], [0.1, 0.9], [3.0, 1e6]])
def test_axes_hold_all_values_with_few_ticks(values):
    axis = fitted_axis("x", values)
    assert axis.low < axis.high
    assert all(axis.low <= v <= axis.high for v in values)
    svg = line_chart("t", [Curve("a", [(v, v) for v in values])], axis, axis)
    assert 3 <= svg.count("class='end'") <= 12 and "nan" not in svg


def test_nec_band_is_one_deviation_to_each_side():
    curve = NecCurves((5.0, 10.0), ((0.4, 0.6), (0.6, 0.6), (0.5, 0.6)))
    result = synthetic_result()
    rows = (dataclasses.replace(result.rows[0], nec_curve=curve),)
    svg = nec_figure(dataclasses.replace(result, rows=rows, seeds=(0, 1, 2)))
    line, *_ = points(svg, "s0")  # the legend draws it once more
    band = re.search(r"class='band f0'><polygon points='([^']*)'", svg)[1]
    above5, above10, _, below5 = [tuple(map(float, p.split(","))) for p in band.split()]
    assert above10 == line[1]
    # Means 0.5 and 0.6 lie 0.1 apart, and so do the mean 0.5 and its deviation's ends.
    rise = line[0][1] - line[1][1]
    assert line[0][1] - above5[1] == pytest.approx(rise, abs=0.21)
    assert below5[1] - line[0][1] == pytest.approx(rise, abs=0.21)


def test_methods_without_a_path_have_no_curve():
    result = synthetic_result()
    assert nec_figure(result).count("class='band") == 6
    assert nec_figure(dataclasses.replace(result, rows=result.rows[-1:])) == ""


def test_calibration_error_by_hand():
    nan = float("nan")
    bins = ReliabilityDiagram("a", (0.5, nan, 0.9), (0.6, nan, 0.5), (30, 0, 10))
    assert calibration_error(bins) == pytest.approx((30 * 0.1 + 10 * 0.4) / 40)
    figure = reliability_figures(dataclasses.replace(synthetic_result(), reliability=(bins,)))
    assert "ECE 17.5 %" in figure and "nan" not in figure


def test_strongest_weights_of_both_signs():
    weights = {
        phrase: w for phrase, w in zip(PHRASES, [9, 8, 7, 6, 5, -1, -2, -3, -4], strict=False)
    }
    chosen = [weight for _, weight in strongest(ClassWeights("a", weights))]
    assert chosen == [9, 8, 7, 6, -2, -3, -4]
    assert "and 2 more" in weight_bars(Weights("r", (ClassWeights("a", weights),)))


def test_ribbons_are_as_wide_as_weights_and_fill_their_nodes():
    classes = (ClassWeights("a", {"x": 3.0, "y": -1.0}), ClassWeights("b", {"x": 2.0}))
    svg = ribbons(Weights("r", classes))
    # Each path ends its right side by V from top + width, and its left side at the top again.
    tops = [float(m) for m in re.findall(r" 552,([\d.]+) V", svg)]
    ends = [float(m) for m in re.findall(r" V([\d.]+) C", svg)]
    widths = sorted(end - top for top, end in zip(tops, ends, strict=True))
    assert [w / widths[0] for w in widths] == pytest.approx([1, 2, 3], rel=0.02)
    heights = sorted(map(float, re.findall(r"class='node'[^>]* height='([\d.]+)'", svg)))
    unit = widths[0]
    assert [h / unit for h in heights] == pytest.approx([1, 2, 4, 5], rel=0.02)
    assert svg.count("ribbon negative") == 1 and svg.count("ribbon positive") == 2
