"""An explanation of one decision: signed contributions, best first, as data, picture or page."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from jaxcbm.pages import bars, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REST = "class bias and all others"


class Contribution(NamedTuple):
    """What one concept added to the logit of the explained class.

    Attributes:
        phrase: the concept.
        value: F[k, d] (a[d] - neutral[d]), where `Calibration.neutral` says what an image gives
            that tells nothing of the concept; with no calibration, F[k, d] a[d].
        weight: F[k, d].
        activation: a[d].
        score: psi[d], the encoder's own image-concept score.
        present: whether the concept counts as there; see `Calibration.is_present`.
        probability: how likely it is to be there, 0 to 1; NaN where annotations did not tell.
        percentile: share of train images with a lower activation, 0 to 1; NaN if unknown.
    """

    phrase: str
    value: float
    weight: float
    activation: float
    score: float
    present: bool
    probability: float = math.nan
    percentile: float = math.nan

    @property
    def label(self) -> str:
        """The phrase, with "no" before it where the concept is absent."""
        return self.phrase if self.present else f"no {self.phrase}"


class Explanation(NamedTuple):
    """Why a class got its logit.

    Attributes:
        image: the picture.
        target: the explained class.
        predicted: the class with the highest logit.
        probability: of the explained class, 0 to 1.
        contributions: the largest, sorted by absolute value.
        rest: all other contributions, the class bias, and what an image gets that tells nothing;
            with `contributions` it adds up to the class logit.
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
        from jaxcbm.model.explanation_plot import explanation_plot

        verdict = f"{self.target} ({self.probability:.0%})"
        if self.predicted != self.target:
            verdict += f"\npredicted: {self.predicted}"
        rest = (REST, self.rest)
        return explanation_plot(self.image, verdict, self._labelled(), rest, self.top_scores)

    def _labelled(self) -> list[tuple[str, float]]:
        return [(part.label, part.value) for part in self.contributions]

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
        return render("explanation.html", **self._shown())

    def _repr_html_(self) -> str:
        return render("explanation_cell.html", **self._shown())

    def _shown(self) -> dict[str, Any]:
        wrong = "" if self.predicted == self.target else f" (predicted: {self.predicted})"
        return {
            "title": f"{self.target}{wrong}, {self.probability:.0%}",
            "picture": _data_url(self.image),
            "contributions": bars(self._labelled(), rest=(REST, self.rest)),
            "scores": self.top_scores,
        }


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
    """Decompose one image's class logit into its concepts' contributions.

    Concept d contributes F[k, d] (a[d] - neutral[d]) to class k: what it adds beside an image that
    says nothing about the concept (`Calibration.neutral`).
    """
    predicted = int(prediction.label_ids[0])
    chosen = predicted if target is None else list(classes).index(target)
    activations_D, psi_D = prediction.concept_activations[0], prediction.concept_scores[0]
    calibration = prediction.calibration
    if calibration is None:
        present_D = activations_D >= 0
        percentiles_D = np.full(len(activations_D), np.nan)
    else:
        present_D = calibration.is_present(activations_D)
        percentiles_D = calibration.percentiles(activations_D)
    probabilities_D = prediction.concept_probabilities[0]
    values_D = head_KxD[chosen] * prediction.evidence[0]
    ranked: list[int] = np.argsort(-np.abs(values_D)).tolist()
    order = [d for d in ranked[:k] if values_D[d] != 0.0]
    kept = tuple(
        Contribution(
            phrases[d],
            float(values_D[d]),
            float(head_KxD[chosen, d]),
            float(activations_D[d]),
            float(psi_D[d]),
            bool(present_D[d]),
            float(probabilities_D[d]),
            float(percentiles_D[d]),
        )
        for d in order
    )
    highest: list[int] = np.argsort(-psi_D).tolist()
    best = highest[: max(k, 1)]
    logit = head_KxD[chosen] @ activations_D + bias_K[chosen]
    return Explanation(
        image=image,
        target=classes[chosen],
        predicted=classes[predicted],
        probability=float(prediction.class_probabilities[0, chosen]),
        contributions=kept,
        rest=float(logit - values_D[order].sum()),
        top_scores=tuple((phrases[d], float(psi_D[d])) for d in best),
    )


def _data_url(image: Image.Image) -> str:
    """A picture inside a page: a small one as it is, a larger one as a JPEG of up to 640 pixels."""
    shown, buffer = image.convert("RGB"), io.BytesIO()
    kind = "PNG" if max(shown.size) <= 128 else "JPEG"
    shown.thumbnail((640, 640))
    shown.save(buffer, format=kind, quality=85)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
