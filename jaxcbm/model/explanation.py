"""An explanation of one decision: signed contributions, best first, as data, picture or page."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REST = "class bias and all others"
POSITIVE, NEGATIVE, NEUTRAL = "#2a7f62", "#b5473c", "#8a8f98"


class Contribution(NamedTuple):
    """What one concept added to the logit of the explained class.

    Attributes:
        phrase: the concept.
        value: F[k, d] a[d].
        weight: F[k, d].
        activation: a[d].
        score: psi[d], the encoder's own image-concept score.
    """

    phrase: str
    value: float
    weight: float
    activation: float
    score: float

    @property
    def label(self) -> str:
        """The phrase, with "no" before it where its absence is what counts (a[d] < 0).

        Activations are centred on the train images, so a negative one says that the image shows the
        concept less than most.
        """
        return self.phrase if self.activation >= 0 else f"no {self.phrase}"


class Explanation(NamedTuple):
    """Why a class got its logit.

    Attributes:
        image: the picture.
        target: the explained class.
        predicted: the class with the highest logit.
        probability: softmax of the explained class, 0 to 1.
        contributions: the largest, sorted by absolute value.
        rest: the sum of all other contributions and the class bias; with `contributions` it adds
            up to the class logit.
        top_scores: the encoder's own highest concept scores: (phrase, score).
    """

    image: Image.Image
    target: str
    predicted: str
    probability: float
    contributions: tuple[Contribution, ...]
    rest: float
    top_scores: tuple[tuple[str, float], ...]

    @property
    def logit(self) -> float:
        """The class logit."""
        return sum(c.value for c in self.contributions) + self.rest

    def plot(self) -> "Figure":
        """The picture beside its contributions and the encoder's own concept scores."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13, 0.32 * len(self.contributions) + 2.0), layout="constrained")
        picture, ours, theirs = figure.subplots(1, 3, width_ratios=[1.0, 1.4, 1.0])
        picture.imshow(self.image.convert("RGB"))
        picture.set_axis_off()
        verdict = f"{self.target} ({self.probability:.0%})"
        if self.predicted != self.target:
            verdict += f"\npredicted: {self.predicted}"
        picture.set_title(verdict, fontsize=12)
        rows = [(c.label, c.value) for c in self.contributions] + [(REST, self.rest)]
        colors = [POSITIVE if value > 0 else NEGATIVE for _, value in rows[:-1]] + [NEUTRAL]
        _bars(ours, rows, colors, "contribution to the class logit")
        ours.axvline(0.0, color="black", linewidth=0.8)
        grey = [NEUTRAL] * len(self.top_scores)
        _bars(theirs, self.top_scores, grey, "the encoder's own concept scores")
        if self.top_scores:
            values = [score for _, score in self.top_scores]
            margin = max(max(values) - min(values), 1e-3)
            theirs.set_xlim(min(values) - margin, max(values) + 0.35 * margin)
        return figure

    def save(self, path: Path | str) -> None:
        """Write a .png, or a self-contained .html page.

        Raises:
            ValueError: another extension.
        """
        path = Path(path)
        if path.suffix == ".html":
            path.write_text(self.to_html(), encoding="utf-8")
        elif path.suffix == ".png":
            self.plot().savefig(path, dpi=130)
        else:
            raise ValueError(f"{path}: the extension must be .png or .html")

    def to_html(self) -> str:
        """A page with the picture and the contributions, that needs no other file."""
        return (
            "<!doctype html><html lang='en'><meta charset='utf-8'>"
            f"<title>{html.escape(self.target)}</title><style>{_STYLE}</style>"
            f"<body>{self.to_html_fragment()}</body></html>"
        )

    def to_html_fragment(self) -> str:
        """The same without the page around it."""
        rows = [*((c.label, c.value) for c in self.contributions), (REST, self.rest)]
        largest = max(abs(value) for _, value in rows) or 1.0
        bars = "".join(_html_bar(phrase, value, largest) for phrase, value in rows)
        scores = "".join(
            f"<tr><th>{html.escape(phrase)}</th><td>{score:.2f}</td></tr>"
            for phrase, score in self.top_scores
        )
        wrong = "" if self.predicted == self.target else f" (predicted: {self.predicted})"
        title = html.escape(f"{self.target}{wrong}, {self.probability:.0%}")
        return (
            f"<article class='explanation'><h2>{title}</h2>"
            f"<img alt='{title}' src='data:image/png;base64,{_png(self.image)}'>"
            f"<table><caption>contribution to the class logit</caption>{bars}</table>"
            f"<table><caption>the encoder's own concept scores</caption>{scores}</table></article>"
        )

    def _repr_html_(self) -> str:
        return f"<style>{_STYLE}</style>" + self.to_html_fragment()


def explain_image(
    image: Image.Image,
    prediction: Any,
    *,
    head_KxD: np.ndarray,
    bias_K: np.ndarray,
    phrases: Sequence[str],
    classes: Sequence[str],
    k: int,
    target: str | None = None,
) -> Explanation:
    """Decompose one image's class logit into its concepts' contributions F[k, d] a[d]."""
    predicted = int(prediction.label_ids[0])
    chosen = predicted if target is None else list(classes).index(target)
    logits_K = prediction.class_logits[0].astype(np.float64)
    exponentials = np.exp(logits_K - logits_K.max())
    activations_D, psi_D = prediction.concept_activations[0], prediction.concept_scores[0]
    values_D = head_KxD[chosen] * activations_D
    ranked: list[int] = np.argsort(-np.abs(values_D)).tolist()
    order = [d for d in ranked[:k] if values_D[d] != 0.0]
    kept = tuple(
        Contribution(
            phrases[d],
            float(values_D[d]),
            float(head_KxD[chosen, d]),
            float(activations_D[d]),
            float(psi_D[d]),
        )
        for d in order
    )
    highest: list[int] = np.argsort(-psi_D).tolist()
    best = highest[: max(k, 1)]
    return Explanation(
        image=image,
        target=classes[chosen],
        predicted=classes[predicted],
        probability=float(exponentials[chosen] / exponentials.sum()),
        contributions=kept,
        rest=float(values_D.sum() - values_D[order].sum() + bias_K[chosen]),
        top_scores=tuple((phrases[d], float(psi_D[d])) for d in best),
    )


def _bars(axes: Any, rows: Sequence[tuple[str, float]], colors: list[str], title: str) -> None:
    names, values = [name for name, _ in rows], [value for _, value in rows]
    positions = range(len(rows))
    bars = axes.barh(positions, values, color=colors)
    axes.bar_label(bars, fmt="%+.2f" if min(values, default=0) < 0 else "%.2f", padding=3)
    axes.set_yticks(positions, names)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _html_bar(phrase: str, value: float, largest: float) -> str:
    width = 100.0 * abs(value) / largest
    color = POSITIVE if value > 0 else NEGATIVE
    bar = f"<div style='width:{width:.1f}%;background:{color}'></div>"
    return f"<tr><th>{html.escape(phrase)}</th><td>{value:+.2f}</td><td class='bar'>{bar}</td></tr>"


def _png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


_STYLE = (
    "body{font-family:system-ui,sans-serif;margin:2rem;color:#222}"
    ".explanation{display:flex;gap:2rem;align-items:flex-start;flex-wrap:wrap}"
    ".explanation h2{flex-basis:100%;margin:0}"
    ".explanation img{width:224px;image-rendering:auto;border-radius:6px}"
    ".explanation table{border-collapse:collapse;font-size:.9rem}"
    ".explanation caption{text-align:left;font-weight:600;padding-bottom:.4rem}"
    ".explanation th{text-align:right;font-weight:400;padding:.15rem .6rem}"
    ".explanation td{padding:.15rem .4rem;font-variant-numeric:tabular-nums}"
    ".explanation .bar{width:14rem}.explanation .bar div{height:.8rem;border-radius:2px}"
)
