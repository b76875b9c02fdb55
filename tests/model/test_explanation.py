import base64
import io
import re

import numpy as np
import pytest
from page_parser import parse
from PIL import Image

from jaxcbm.evaluation.results.parts import explained_image
from jaxcbm.model.calibration import Calibration
from jaxcbm.model.explain import explain_image
from jaxcbm.model.explanation import gallery
from jaxcbm.model.prediction import Prediction


def explanation(k=3, target=None, calibration=None, against=None):
    head = np.array([[1.0, -2.0, 0.0, 0.5], [0.0, 1.0, 3.0, 0.0]], np.float32)
    activations = np.array([[2.0, 1.0, 0.25, -4.0]], np.float32)
    bias = np.array([0.5, -0.25], np.float32)
    logits = activations @ head.T + bias
    scores = np.array([[20.0, 22.0, 19.0, 21.0]], np.float32)
    classes = ("owl", "wren")
    prediction = Prediction.of(logits, classes, activations, activations, scores, calibration)
    return explain_image(
        Image.new("L", (8, 8)),
        prediction,
        head_KxD=head,
        phrases=("red <crown>", "long tail", "spots", "short bill"),
        classes=classes,
        k=k,
        target=target,
        against=against,
    ), logits[0]


def test_contributions_are_signed_sorted_and_complete():
    for target, row in (("owl", 0), ("wren", 1)):
        for k in (1, 2, 4):
            found, logits = explanation(k, target)
            values = [c.value for c in found.contributions]
            assert values == sorted(values, key=abs, reverse=True)
            assert all(c.value == c.weight * c.activation != 0 for c in found.contributions)
            np.testing.assert_allclose(found.logit, logits[row], rtol=1e-6)


def test_an_absence_that_counts_is_called_one():
    labels = [c.label for c in explanation(target="owl")[0].contributions]
    assert "no short bill" in labels and "red <crown>" in labels


CALIBRATION = Calibration(
    temperature=2.0,
    slope=np.array([1.0, 4.0, np.nan, 0.5]),
    intercept=np.array([-3.0, 0.0, np.nan, 3.0]),
    mean=np.array([1.5, 3.0, 0.0, -5.0]),
    quantiles=np.linspace(-10, 10, 101, dtype=np.float32)[:, None] * np.ones(4, np.float32),
    absent=np.array([0.0, -1.0, -1.0, -6.0]),
    present=np.array([4.0, 1.0, 1.0, -2.0]),
    frequencies=np.full((2, 4), 0.5),
)


def test_a_calibrated_explanation_counts_from_the_coin_toss_and_says_how_likely():
    plain, logits = explanation(4, "owl")
    found, _ = explanation(4, "owl", CALIBRATION)
    parts = {c.phrase: c for c in found.contributions}
    # Weights 1, -2, 0, 0.5 on activations 2, 1, 0.25, -4; likely from 3, 0, unknown and -6 on.
    assert {name: c.value for name, c in parts.items()} == pytest.approx(
        {"long tail": -2.0, "red <crown>": -1.0, "short bill": 1.0}
    )
    # The value's sign and the weight's tell the same as the presence.
    assert all((c.value > 0) == (c.present == (c.weight > 0)) for c in parts.values())
    np.testing.assert_allclose((found.logit, plain.logit), logits[0], rtol=1e-6)
    # sigmoid(2 - 3), sigmoid(4), and sigmoid(-2 + 3); no annotation tells of spots.
    likely = {"red <crown>": 0.26894, "long tail": 0.98201, "short bill": 0.73106}
    for name, c in parts.items():
        assert c.probability == pytest.approx(likely[name], abs=1e-5)
        assert c.present == (likely[name] > 0.5)
    assert parts["short bill"].percentile == pytest.approx(0.3, abs=1e-6)
    spots = {c.phrase: c for c in explanation(4, "wren", CALIBRATION)[0].contributions}["spots"]
    assert np.isnan(spots.probability) and spots.present and spots.label == "spots"
    softened = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert found.probability == pytest.approx(softened[0], rel=1e-5)


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
@pytest.mark.parametrize("k", [1, 4])
def test_a_contrast_adds_up_to_the_difference_of_two_logits(k, calibration):
    for target, other in ((None, "owl"), ("owl", "wren")):
        found, logits = explanation(k, target, calibration)
        contrast = found.contrast
        assert contrast is not None and contrast.other == other
        sign = 1 if other == "owl" else -1
        assert contrast.margin == pytest.approx(sign * (logits[1] - logits[0]), rel=1e-6)
        named = explanation(k, target, calibration, against=other)[0].contrast
        # NaN, where nothing is known, equals nothing.
        assert named is not None and str(named) == str(contrast) and named.other == contrast.other
        here = {c.phrase: c.value for c in explanation(4, "owl", calibration)[0].contributions}
        there = {c.phrase: c.value for c in explanation(4, "wren", calibration)[0].contributions}
        for c in contrast.contributions:
            difference = there.get(c.phrase, 0.0) - here.get(c.phrase, 0.0)
            assert c.value == pytest.approx(sign * difference)


def test_the_smallest_change_makes_another_decision():
    found, logits = explanation(4, None, CALIBRATION)
    change = found.smallest_change
    assert change is not None and found.contrast is not None and change == found.contrast.change
    # wren is 3 ahead; a tail that goes from 1 to -1 counts three times as much for it.
    assert logits[1] - logits[0] == pytest.approx(3.0)
    assert str(change) == "owl, if: no long tail"
    assert change.activations == {"long tail": -1.0}
    # Of a class that is not the predicted one, the predicted one is ahead as it is.
    behind = explanation(4, "owl", CALIBRATION)[0]
    assert behind.contrast is not None and behind.contrast.change is not None
    assert behind.contrast.change.corrections == {} and behind.smallest_change == change
    assert explanation()[0].smallest_change is None


def test_the_predicted_class_is_explained_by_default_and_a_wrong_target_says_so():
    assert explanation()[0].target == "wren"
    assert "predicted: wren (95%)" in explanation(target="owl")[0].to_html()


def test_the_encoders_own_scores_stand_beside():
    assert explanation(k=2)[0].top_scores == (("long tail", 22.0), ("short bill", 21.0))


@pytest.mark.parametrize("form", ["to_html", "_repr_html_"])
def test_html_escapes_phrases_and_needs_no_other_file(form):
    found, _ = explanation(target="owl")
    text = getattr(found._replace(target="<script>"), form)()
    page = parse(text)
    assert "crown" not in page.tags and "red <crown>" in page.text
    assert page.tags.count("script") == (form == "to_html") and "url(" not in text
    assert [value[:22] for _, value in page.links] == ["data:image/png;base64,"]
    assert "body" not in page.tags or form == "to_html"


def test_bars_stand_left_and_right_of_zero_and_add_up_to_the_logit():
    found, logits = explanation(target="owl")
    ours, theirs = parse(found.to_html()).tables
    labels = [c.label for c in found.contributions]
    assert [line[0] for line in ours] == [*labels, "class bias and all others"]
    values = [float(line[1].replace("\u2212", "-")) for line in ours]
    assert sum(values) == pytest.approx(logits[0], abs=0.02) and min(values) < 0 < max(values)
    assert [line[0] for line in theirs] == [phrase for phrase, _ in found.top_scores]
    places = re.findall(r"left:([\d.]+)%;width:([\d.]+)%", found.to_html())
    ends = [(float(start), float(start) + float(width)) for start, width in places]
    zero = float(re.search(r'<u style="left:([\d.]+)%', found.to_html())[1])
    for value, (start, end) in zip(values, ends, strict=True):
        assert (start if value >= 0 else end) == pytest.approx(zero, abs=0.11)


def test_a_photograph_makes_a_page_of_moderate_size():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (900, 1200, 3)).astype(np.uint8))
    found, _ = explanation()
    page = found._replace(image=noise.resize((2400, 1800))).to_html()
    ((_, link),) = parse(page).links
    with Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as shown:
        assert shown.format == "JPEG" and shown.size == (640, 480)
    assert len(page) < 500_000


def test_the_plot_has_a_bar_for_every_contribution(tmp_path):
    found, _ = explanation(k=4, target="owl")
    figure = found.plot()
    assert len(figure.axes[1].patches) == len(found.contributions) + 1
    found.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.width > drawn.height


def test_a_page_names_the_file_the_true_class_and_the_runner_up_as_text():
    evil = "]](javascript:alert(1))<script>alert(1)</script>"
    found, _ = explanation(calibration=CALIBRATION)
    for true, told in (("wren", "right"), (evil, "wrong"), (None, "")):
        named = found._replace(name=f"{evil}.png", true=true)
        for text in (named.to_html(), named._repr_html_(), gallery([named], 1)):
            page = parse(text)
            assert page.tags.count("script") <= 1 and "alert" not in page.tags
            assert f"{evil}.png" in page.text and "next: owl (" in page.text
            assert (", right)" in page.text) == (told == "right")
            assert (f"true class: {evil}" in page.text) == (told == "wrong")


def test_the_page_shows_what_the_encoder_saw_and_the_uncropped_picture_where_they_differ():
    found, _ = explanation()
    wide = Image.new("RGB", (300, 100), "red")
    seen = Image.new("RGB", (100, 100), "blue")
    cropped = parse(found._replace(image=wide, seen=seen, whole=False).to_html())
    assert [len(cropped.links), "uncropped" in cropped.text] == [2, True]
    same = parse(found._replace(image=wide.resize((301, 301)), seen=seen).to_html())
    assert [len(same.links), "uncropped" in same.text] == [1, False]
    ((_, link),) = same.links
    with Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))) as shown:
        assert shown.convert("RGB").getpixel((50, 50)) == (0, 0, 255)


@pytest.mark.parametrize("target", [None, "owl", "finch"])
def test_the_runner_up_is_the_second_likeliest_whatever_is_explained_against_what(target):
    logits = np.array([[2.0, 1.0, -1.0]], np.float32)
    a = np.ones((1, 1), np.float32)
    classes, head = ("wren", "owl", "finch"), logits.T - 1
    told = Prediction.of(logits, classes, a, a, a)
    shown = {"phrases": ["beak"], "classes": classes, "k": 1, "target": target}
    image = Image.new("L", (8, 8))
    other = "wren" if target == "finch" else "finch"
    found = explain_image(image, told, head_KxD=head, against=other, **shown)
    assert found.contrast is not None and found.contrast.other == other
    facts = ["next: owl (26%)"]
    assert found.facts() == (["predicted: wren (71%)", *facts] if target else facts)


def test_the_nearest_other_decision_stands_on_the_page():
    found, _ = explanation(4, None, CALIBRATION)
    assert "would be owl, if: no long tail" in parse(found.to_html()).text


def test_a_page_says_what_its_last_bar_is():
    text = parse(explanation()[0].to_html()).text
    assert "“class bias and all others”: where the class starts from, and the sum of all" in text


def test_how_likely_a_concept_is_stands_below_its_name_in_small():
    found, _ = explanation(4, "owl", CALIBRATION)
    for text in (found.to_html(), gallery([found], 1)):
        assert "long tail<small> (98 % likely there)</small>" in text


def test_a_cell_of_a_notebook_restyles_nothing_around_it():
    text = explanation()[0]._repr_html_()
    style = re.sub(r"@media[^{]*\{", "", text[text.index("<style>") + 7 : text.index("</style>")])
    for selectors in re.findall(r"([^{}]+)\{", style):
        for selector in selectors.split(","):
            assert re.search(r"\.jaxcbm\b", selector), selector
    for theme in ("[data-jp-theme-light=false]", "[data-jp-theme-light=true]"):
        assert f"{theme} .jaxcbm" in style


def test_a_reason_that_annotations_deny_is_called_false_in_pages_and_result_files():
    found, _ = explanation(4, "owl", CALIBRATION)
    known = found._replace(annotated={"red <crown>": True, "long tail": True, "short bill": False})
    labels = [part.label for part in explained_image(known, "best", "owl").contributions]
    told = dict(zip((c.phrase for c in found.contributions), labels, strict=True))
    assert told == {
        "long tail": "long tail (98 % likely there)",
        "red <crown>": "no red <crown> (27 % likely there): false",
        "short bill": "short bill (73 % likely there): false",
    }
    assert all(label in parse(known.to_html()).text for label in labels)
    assert not any(label.endswith("false") for label, _ in found.labelled())


def test_printed_parts_are_one_line_each():
    found, _ = explanation(4, None, CALIBRATION)
    assert repr(found.contributions[0]) == f"<{found.contributions[0]}>"
    assert repr(found.smallest_change) == "<owl, if: no long tail>"
    line = repr(found.contrast)
    assert line.startswith("<not owl (18%): long tail +3.00 (98 % likely there); no red <crown>")
    assert line.endswith("would be owl, if: no long tail>")
    assert not any(part in line for part in ("nan", "\n", "Contribution("))


def test_a_printed_explanation_is_its_reasons():
    found = explanation(k=2)[0]._replace(caution="unsure: the likeliest class has 40 %")
    first, *lines = repr(found).splitlines()
    assert first == f"Explanation of {found.verdict}"
    assert lines[:2] == [f"  {part}" for part in found.contributions]
    assert lines[-1] == "  unsure: the likeliest class has 40 %"
    denied = {part.phrase: not part.present for part in found.contributions[:1]}
    assert repr(found._replace(annotated=denied)).splitlines()[1].endswith(": false")
