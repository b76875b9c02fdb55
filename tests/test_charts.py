import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxcbm.charts import curves_over_seeds, inline_svg, legend, look, reliability_curve, styled
from jaxcbm.palette import CURVES, light


@styled
def drawn(curves, looks=None):
    figure = Figure()
    return figure, figure.subplots(), curves_over_seeds(figure.axes[0], curves, looks)


@styled
def picture(*names):
    figure = Figure(figsize=(3, 2))
    lines = curves_over_seeds(
        figure.subplots(), {name: ([1, 2], [[0.1, 0.2], [0.2, 0.3]]) for name in names}
    )
    return figure, lines


def band(axes):
    """Lower and upper edge by x."""
    points = axes.collections[0].get_paths()[0].vertices
    return {x: (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max())
            for x in np.unique(points[:, 0])}  # fmt: skip


def test_seeds_become_a_mean_and_a_band_of_one_sample_deviation():
    _, axes, lines = drawn({"a": ([10, 5], [[0.6, 0.4], [0.8, 0.6], [0.7, 0.5]])})
    np.testing.assert_allclose(lines["a"].get_xydata(), [(5, 0.5), (10, 0.7)])
    assert band(axes)[5] == pytest.approx((0.4, 0.6)) and band(axes)[10] == pytest.approx(
        (0.6, 0.8)
    )


def test_one_seed_has_no_band_and_what_is_no_number_leaves_a_gap():
    nan = float("nan")
    _, axes, lines = drawn({"a": ([1, 2, 3], [0.1, nan, 0.3]), "b": ([1], [[0.5], [nan]])})
    np.testing.assert_array_equal(lines["a"].get_ydata(), [0.1, nan, 0.3])
    np.testing.assert_array_equal(lines["b"].get_ydata(), [0.5])
    assert all(len(path.vertices) == 0 for c in axes.collections for path in c.get_paths())


def test_curves_are_named_in_the_order_of_their_right_ends():
    _, _, lines = drawn({"low": ([1, 2], [0.9, 0.1]), "high": ([2, 1], [0.8, 0.2])}, [3, 0])
    assert list(lines) == ["high", "low"]
    assert lines["low"].get_color() == look(3)["color"]


def test_ninety_curves_differ():
    looks = {(look(i)["color"], str(look(i)["linestyle"]), look(i)["marker"]) for i in range(90)}
    assert len(looks) == 90 and len(set(CURVES)) == 10


def test_points_of_reliability_grow_with_their_share_of_images():
    figure = Figure()
    axes = figure.subplots()
    reliability_curve(axes, [0.2, 0.8], [0.3, 0.7], [1, 3])
    (points,) = axes.collections
    np.testing.assert_allclose(points.get_offsets(), [(0.2, 0.3), (0.8, 0.7)])
    assert np.diff(points.get_sizes() - 8) == pytest.approx(250)


def test_the_same_figure_gives_the_same_svg_and_another_label_other_ids():
    first, again = (inline_svg(picture("a")[0], "one") for _ in range(2))
    assert first == again
    ids = [
        set(re.findall(r' id="([^"]*)"', svg))
        for svg in (first, inline_svg(picture("a")[0], "two"))
    ]
    assert ids[0] and not ids[0] & ids[1]
    for name in ids[0]:
        assert f"#{name}" in first, f"an id that nothing uses: {name}"


def test_svg_takes_colours_and_fonts_from_the_page_and_leaves_its_texts_alone():
    name = f"<b>'{light('c0')}' $x$ 0.12345 \u9ce5"
    figure, lines = picture(name, "_hidden")
    svg = inline_svg(figure, "a") + inline_svg(legend(lines), "b", tight=True)
    assert "var(--c0)" in svg and "font-family" not in svg and "http" not in svg
    assert [
        text for text in re.findall(r"<text[^>]*>([^<]*)", svg) if "x" in text or "_" in text
    ] == [
        name.replace("<", "&lt;").replace(">", "&gt;"),
        "_hidden",
    ]
    assert not set(re.findall(r": (#[0-9a-f]{6})", svg)) & set(CURVES)
    assert "<style" not in svg and "\n" not in svg
