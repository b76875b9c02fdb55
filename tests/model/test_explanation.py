import numpy as np
from PIL import Image

from jaxcbm.model.explanation import explain_image
from jaxcbm.model.model import Prediction


def explanation(k=3, target=None):
    head = np.array([[1.0, -2.0, 0.0, 0.5], [0.0, 1.0, 3.0, 0.0]], np.float32)
    activations = np.array([[2.0, 1.0, 0.25, -4.0]], np.float32)
    bias = np.array([0.5, -0.25], np.float32)
    logits = activations @ head.T + bias
    label = np.argmax(logits, axis=1).astype(np.int32)
    scores = np.array([[20.0, 22.0, 19.0, 21.0]], np.float32)
    prediction = Prediction(logits, activations, activations, scores, label, ("wren",))
    return explain_image(
        Image.new("L", (8, 8)),
        prediction,
        head_KxD=head,
        bias_K=bias,
        phrases=("red <crown>", "long tail", "spots", "short bill"),
        classes=("owl", "wren"),
        k=k,
        target=target,
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


def test_the_predicted_class_is_explained_by_default_and_a_wrong_target_says_so():
    assert explanation()[0].target == "wren"
    assert "predicted: wren" in explanation(target="owl")[0].to_html()


def test_the_encoders_own_scores_stand_beside():
    assert explanation(k=2)[0].top_scores == (("long tail", 22.0), ("short bill", 21.0))


def test_html_escapes_phrases_and_needs_no_other_file():
    page = explanation(target="owl")[0].to_html()
    assert "red &lt;crown&gt;" in page and "<crown>" not in page
    assert "http" not in page and "data:image/png;base64," in page


def test_the_plot_has_a_bar_for_every_contribution(tmp_path):
    found, _ = explanation(k=4, target="owl")
    figure = found.plot()
    assert len(figure.axes[1].patches) == len(found.contributions) + 1
    found.save(tmp_path / "why.png")
    with Image.open(tmp_path / "why.png") as drawn:
        assert drawn.width > drawn.height
