"""An explanation of one decision: signed contributions, best first, as data, picture or page."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from jaxcbm.model.smallest_change import Correction
from jaxcbm.model.wording import REST, REST_MEANING, chance, reason, said
from jaxcbm.pages import bars, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        """The concept as it is there, or as it is not: "no waistband"."""
        return said(self.phrase, self.present)

    @property
    def likely(self) -> str:
        """How likely the concept is there, in words; empty where nothing tells."""
        return chance(self.probability, self.percentile)

    def __str__(self) -> str:
        return reason(self.label, self.value, self.likely)

    def __repr__(self) -> str:
        return f"<{self}>"


class Change(NamedTuple):
    """The fewest concepts that would have to be otherwise for another class to overtake.

    Attributes:
        label: the class that does.
        corrections: phrase -> what it would have to be; the greatest gain first.
    """

    label: str
    corrections: dict[str, Correction]

    @property
    def activations(self) -> dict[str, float]:
        """As `Model.intervene` takes them."""
        return {phrase: c.value for phrase, c in self.corrections.items()}

    def __str__(self) -> str:
        wanted = (said(phrase, c.present) for phrase, c in self.corrections.items())
        return f"{self.label}, if: {', '.join(wanted)}"

    def __repr__(self) -> str:
        return f"<{self}>"


class Contrast(NamedTuple):
    """What tells the explained class from another one.

    Attributes:
        other: the other class.
        probability: of the other class, 0 to 1.
        contributions: to the difference of the two logits, sorted by absolute value; a positive one
            speaks for the explained class.
        rest: the sum of all others; with `contributions` it adds up to the difference.
        change: the fewest concepts for the other class to overtake this one; None where none do, or
            without a calibration.
    """

    other: str
    probability: float
    contributions: tuple[Contribution, ...]
    rest: float
    change: Change | None

    @property
    def margin(self) -> float:
        """How far the explained class's logit is above the other's."""
        return sum(c.value for c in self.contributions) + self.rest

    def __repr__(self) -> str:
        parts = [*map(str, self.contributions), reason("all others", self.rest)]
        change = [f"would be {self.change}"] if self.change else []
        return f"<not {self.other} ({self.probability:.0%}): {'; '.join([*parts, *change])}>"


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
        contrast: what tells the class from another one; None where there is but one.
        smallest_change: the fewest concepts for another decision, whichever; None where none would
            do, or without a calibration.
        caution: why not to trust the decision, in words; "" where nothing speaks against it.
        maps: (phrase, the picture as the encoder sees it with the places of the concept marked).
        seen: what the encoder got of the picture, resized and cropped.
        name: of the file, or empty.
        true: the picture's class, where it is known.
        annotated: phrase -> whether the picture shows it, where that is known.
        ranking: the two likeliest classes with their probabilities.
        whole: whether the encoder saw all of the picture, in its proportions.
        by: the model's name where several explain the same picture, or empty.
        edits: what was changed of the model after its fit, in words.
    """

    image: Image.Image
    target: str
    predicted: str
    probability: float
    contributions: tuple[Contribution, ...]
    rest: float
    top_scores: tuple[tuple[str, float], ...]
    contrast: Contrast | None = None
    smallest_change: Change | None = None
    caution: str = ""
    maps: tuple[tuple[str, Image.Image], ...] = ()
    seen: Image.Image | None = None
    name: str = ""
    true: str | None = None
    annotated: Mapping[str, bool] = MappingProxyType({})
    ranking: tuple[tuple[str, float], ...] = ()
    whole: bool = True
    by: str = ""
    edits: tuple[str, ...] = ()

    def __repr__(self) -> str:
        change = [f"would be {self.smallest_change}"] if self.smallest_change else []
        reasons = [
            f"{part}: false" if self._denied(part) else f"{part}" for part in self.contributions
        ]
        facts = [*self.facts(), *change, *self.edited(), *filter(None, [self.caution])]
        return "\n  ".join([f"Explanation of {self.verdict}", *reasons, *facts])

    @property
    def logit(self) -> float:
        """The class logit."""
        return sum(c.value for c in self.contributions) + self.rest

    def plot(self) -> "Figure":
        """The picture beside its contributions and the encoder's own concept scores."""
        from jaxcbm.model.explanation_plot import explanation_plot

        return explanation_plot([self])

    @property
    def verdict(self) -> str:
        """The explained class, how likely it is, and whether it is known to be right."""
        decided = self.true is not None and self.target == self.predicted
        right = (", right" if self.true == self.target else ", wrong") if decided else ""
        by = f"{self.by}: " if self.by else ""
        return f"{by}{self.target} ({self.probability:.0%}{right})"

    def facts(self) -> list[str]:
        """True class and predicted class where they are others; the runner-up."""
        facts = [f"true class: {self.true}"] if self.true not in (None, self.target) else []
        first = "predicted" if self.predicted != self.target else ""
        ranked = zip((first, "next"), self.ranking, strict=False)
        return [*facts, *(f"{place}: {name} ({p:.0%})" for place, (name, p) in ranked if place)]

    def edited(self) -> list[str]:
        """What was changed of the model, a line an edit."""
        return [f"model edited: {edit}" for edit in self.edits]

    def labelled(self) -> list[tuple[str, float]]:
        """Every reason with its chance, and where annotations deny it, that it is false."""
        return [(self._row(part), part.value) for part in self.contributions]

    def _row(self, part: Contribution) -> str:
        label = f"{part.label} ({part.likely})" if part.likely else part.label
        return f"{label}: false" if self._denied(part) else label

    def _denied(self, part: Contribution) -> bool:
        return self.annotated.get(part.phrase, part.present) != part.present

    def save(self, path: Path | str) -> None:
        """Write a .png, or a self-contained .html page.

        Raises:
            ValueError: another extension.
        """
        path = Path(path)
        if path.suffix == ".html":
            path.write_text(self.to_html(), encoding="utf-8")
        elif path.suffix == ".png":
            from jaxcbm.model.explanation_plot import save_explanations

            save_explanations([self], path)
        else:
            raise ValueError(f"{path}: the extension must be .png or .html")

    def to_html(self) -> str:
        """A page with the picture and the contributions, that needs no other file."""
        return render("explanation.html", **self._shown())

    def _repr_html_(self) -> str:
        return render("explanation_cell.html", **self._shown())

    def _shown(self) -> dict[str, Any]:
        seen = self.image if self.seen is None else self.seen
        change = [f"would be {self.smallest_change}"] if self.smallest_change else []
        return {
            "title": self.verdict,
            "name": self.name,
            "facts": self.facts() + change + self.edited(),
            "caution": self.caution,
            "picture": _data_url(seen),
            "uncropped": "" if self.whole else _data_url(self.image),
            "contributions": bars(self.labelled(), rest=(REST, self.rest)),
            "rest_meaning": REST_MEANING,
            "scores": self.top_scores,
            "maps": [(phrase, _data_url(shown)) for phrase, shown in self.maps],
        }


def gallery(explanations: Sequence[Explanation], pictures: int) -> str:
    """A page with small pictures and the strongest reasons of each, that needs no other file.

    Args:
        explanations: what to show.
        pictures: how many there were to choose from.
    """
    cards = [
        {
            "title": each.verdict,
            "name": each.name,
            "facts": each.facts(),
            "caution": each.caution,
            "picture": _data_url(each.image if each.seen is None else each.seen, 160),
            "bars": bars(each.labelled()[:5]),
        }
        for each in explanations
    ]
    known = [each.true == each.predicted for each in explanations if each.true is not None]
    return render(
        "gallery.html",
        title=f"{len(cards)} of {pictures} pictures explained",
        right=f"{sum(known)} of {len(known)} predictions are right" if known else "",
        cards=cards,
    )


def save_comparison(explanations: Sequence[Explanation], path: Path) -> None:
    """One picture as several models explain it: a .png with a panel a model, or an .html page."""
    if path.suffix == ".png":
        from jaxcbm.model.explanation_plot import comparison_plot, save_explanations

        save_explanations(explanations, path, comparison_plot(explanations))
        return
    title = f"{len(explanations)} models explain {explanations[0].name or 'a picture'}"
    shown = [each._shown() for each in explanations]
    path.write_text(render("comparison.html", title=title, explanations=shown), encoding="utf-8")


def _data_url(image: Image.Image, side: int = 640) -> str:
    """A picture inside a page: a small one as it is, a larger one as a JPEG of up to `side`."""
    shown, buffer = image.convert("RGB"), io.BytesIO()
    kind = "PNG" if max(shown.size) <= 128 else "JPEG"
    shown.thumbnail((side, side))
    shown.save(buffer, format=kind, quality=85)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
