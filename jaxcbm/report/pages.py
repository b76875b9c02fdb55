"""The report as Markdown, and as one HTML page that needs no other file and no network."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxcbm.evaluation.results.schema import ContributionValue, Explained, Explanations, Weights
from jaxcbm.pages import Bars, bars, render
from jaxcbm.report.facts import TITLE, Section, facts, section_title, warning
from jaxcbm.report.figures import (
    Drawing,
    csv_link,
    intervention_figures,
    nec_figure,
    reliability_figures,
    strongest,
    weight_ribbons,
    weights_csv,
)
from jaxcbm.report.published_tables import all_published_table, published_table
from jaxcbm.report.tables import (
    Table,
    further_table,
    intervention_table,
    main_table,
    nec_table,
    released_table,
)

_REST = "class bias and all others"
_GROUPS = {
    "best": "Best: the true class stands furthest above all others",
    "worst": "Worst: another class stands furthest above the true one",
}


def html_report(report: Sequence[Section]) -> str:
    """The whole page; the same input gives the same text.

    Args:
        report: from `jaxcbm.report.facts.sections`.
    """
    parts = [_part(section) | _pictures(section) for section in report]
    return render("report.html", title=TITLE, parts=parts, published=_published(report))


def markdown_report(report: Sequence[Section]) -> str:
    """Every table of the report; the figures are in the HTML page."""
    parts = [_part(section) for section in report]
    published = _published(report)
    return render("report.md", title=TITLE, parts=parts, published=published, figures=True)


class Card(NamedTuple):
    """Bars under a heading, with a sentence, and for an explained image its picture."""

    title: str
    note: str
    bars: Bars
    image: Explained | None = None


def _published(report: Sequence[Section]) -> Table | None:
    elsewhere = any(published_table(section.result) is None for section in report)
    return all_published_table() if elsewhere else None


def _part(section: Section) -> dict[str, object]:
    result = section.result
    return {
        "title": section_title(section),
        "warning": warning(result),
        "facts": facts(result),
        "notes": result.notes,
        "tables": _some(main_table(result), further_table(result)),
        "nec_table": nec_table(result),
        "intervention_table": intervention_table(result),
        "last_tables": _some(released_table(section), published_table(result)),
    }


def _some(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]


def _pictures(section: Section) -> dict[str, object]:
    result, name = section.result, section_title(section)
    curves: list[tuple[str, list[Drawing], Table | None]] = [
        ("Sparsity", nec_figure(result, name), nec_table(result)),
        ("Calibration", reliability_figures(result, name), None),
        ("Interventions", intervention_figures(result, name), intervention_table(result)),
    ]
    weights, explanations = result.class_weights, result.explanations
    return {
        "curves": [part for part in curves if part[1]],
        "weights": weights,
        "ribbons": weight_ribbons(weights, name) if weights else "",
        "weights_csv": weights_csv(weights) if weights else "",
        "weight_cards": _weight_cards(weights) if weights else [],
        "explanations": explanations,
        "explained_csv": _explained_csv(explanations) if explanations else "",
        "explained": _explained(explanations) if explanations else [],
    }


def _weight_cards(weights: Weights) -> list[Card]:
    """A card a class with its strongest concepts, on one scale for all classes."""
    chosen = [strongest(each) for each in weights.classes]
    scale = [weight for pairs in chosen for _, weight in pairs]
    cards = []
    for each, pairs in zip(weights.classes, chosen, strict=True):
        left = len(each.weights) - len(pairs)
        note = (f"and {left} more" if left else "") if pairs else "no concepts"
        cards.append(Card(each.name, note, bars(pairs, scale=scale)))
    return cards


def _explained(explanations: Explanations) -> list[tuple[str, list[Card]]]:
    groups = []
    for group, title in _GROUPS.items():
        cards = [_image_card(image) for image in explanations.images if image.group == group]
        groups += [(title, cards)] if cards else []
    return groups


def _explained_csv(explanations: Explanations) -> str:
    rows = (
        (i, image.true, image.predicted, image.probability, part.label, part.value)
        for i, image in enumerate(explanations.images)
        for part in (*image.contributions, ContributionValue(_REST, image.rest))
    )
    header = ("image", "true class", "predicted class", "probability", "reason", "contribution")
    return csv_link(header, rows)


def _image_card(image: Explained) -> Card:
    values = [(part.label, part.value) for part in image.contributions]
    return Card(
        f"{image.predicted} ({image.probability:.0%})",
        f"true class: {'the same' if image.true == image.predicted else image.true}",
        bars(values, rest=(_REST, image.rest)),
        image,
    )
