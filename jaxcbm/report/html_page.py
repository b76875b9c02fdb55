"""The report as one HTML page that needs no other file, no network and no script."""

import html
from collections.abc import Sequence

from jaxcbm.evaluation.results.schema import Explained, Explanations, ResultFile, Weights
from jaxcbm.report.facts import TITLE, Section, facts, section_title, warning
from jaxcbm.report.figures import intervention_figures, nec_figure, reliability_figures
from jaxcbm.report.published_tables import all_published_table, published_table
from jaxcbm.report.style import STYLE
from jaxcbm.report.tables import (
    Cell,
    Group,
    Table,
    further_table,
    intervention_table,
    main_table,
    nec_table,
    released_table,
)
from jaxcbm.report.weights import bar_line, ribbons, weight_bars

_GROUPS = {
    "best": "Best: the true class stands furthest above all others",
    "worst": "Worst: another class stands furthest above the true one",
}


def html_report(report: Sequence[Section]) -> str:
    """The whole page; the same input gives the same text.

    Args:
        report: from `jaxcbm.report.facts.sections`.
    """
    body = "".join(_section(section, i) for i, section in enumerate(report))
    if any(published_table(section.result) is None for section in report):
        body += f"<section><h2>Published numbers</h2>{_table(all_published_table())}</section>"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{TITLE}</title><style>{STYLE}</style></head>\n"
        f"<body><h1>{TITLE}</h1>{_contents(report)}\n{body}</body></html>\n"
    )


def _contents(report: Sequence[Section]) -> str:
    if len(report) < 2:
        return ""
    items = "".join(
        f"<li><a href='#data-{i}'>{_text(section_title(section))}</a></li>"
        for i, section in enumerate(report)
    )
    return f"<nav><ul>{items}</ul></nav>"


def _section(section: Section, index: int) -> str:
    result = section.result
    alarm = warning(result)
    parts = [
        f"<section id='data-{index}'><h2>{_text(section_title(section))}</h2>",
        f"<p class='warning'>{_text(alarm)}</p>" if alarm else "",
        _facts(result),
        "".join(f"<p>{_text(note)}</p>" for note in result.notes),
        *(_table(table) for table in (main_table(result), further_table(result)) if table),
        _curves("Sparsity", nec_figure(result), nec_table(result)),
        _curves("Calibration", reliability_figures(result), None),
        _curves("Interventions", intervention_figures(result), intervention_table(result)),
        _weights(result.class_weights) if result.class_weights else "",
        _explanations(result.explanations) if result.explanations else "",
        *(_table(table) for table in (released_table(section), published_table(result)) if table),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _facts(result: ResultFile) -> str:
    rows = (f"<dt>{_text(what)}</dt><dd>{_text(text)}</dd>" for what, text in facts(result))
    return f"<dl class='facts'>{''.join(rows)}</dl>"


def _curves(title: str, figures: str, table: Table | None) -> str:
    if not figures:
        return ""
    below = _grid(table) if table else ""
    return f"<h3>{title}</h3><div class='figures'>{figures}</div>{below}"


def _weights(weights: Weights) -> str:
    return (
        f"<h3>What each class reads: {_text(weights.row)}</h3>"
        "<p>The strongest weights between concepts and classes; negative ones speak against a "
        f"class.</p>{ribbons(weights)}{weight_bars(weights)}"
    )


def _explanations(explanations: Explanations) -> str:
    parts = [f"<h3>Explained images: {_text(explanations.row)}</h3>"]
    for group, title in _GROUPS.items():
        cards = [_explained(image) for image in explanations.images if image.group == group]
        if cards:
            parts.append(f"<h4>{title}</h4><div class='cards'>{''.join(cards)}</div>")
    return "".join(parts)


def _explained(image: Explained) -> str:
    largest = max((abs(c.value) for c in image.contributions), default=0.0)
    largest = max(largest, abs(image.rest)) or 1.0
    lines = "".join(bar_line(c.label, c.value, largest) for c in image.contributions)
    lines += bar_line("class bias and all others", image.rest, largest, "neutral")
    verdict = f"{image.predicted} ({image.probability:.0%})"
    right = image.true == image.predicted
    truth = "true class: the same" if right else f"true class: {image.true}"
    return (
        f"<article class='card'><img alt='{_text(image.true)}' "
        f"src='data:image/png;base64,{_text(image.picture)}'>"
        f"<h4>{_text(verdict)}</h4><p class='more'>{_text(truth)}</p>"
        f"<table class='bars'>{lines}</table></article>"
    )


def _table(table: Table) -> str:
    return f"<h3>{_text(table.caption)}</h3>{_grid(table)}"


def _grid(table: Table) -> str:
    header = "".join(f"<th scope='col'>{_text(name)}</th>" for name in table.header)
    body = "".join(_group(group, len(table.header)) for group in table.groups)
    notes = "".join(f"<li>{_text(note)}</li>" for note in table.notes)
    return (
        f"<div class='wide'><table class='data'><thead><tr>{header}</tr></thead>{body}</table>"
        f"</div>{f'<ul class=notes>{notes}</ul>' if notes else ''}"
    )


def _group(group: Group, width: int) -> str:
    title = _text(group.title)
    title = f"<a href='{_text(group.link)}'>{title}</a>" if group.link else title
    heading = f"<tr class='group'><th colspan='{width}'>{title}</th></tr>" if title else ""
    lines = "".join(
        f"<tr><th scope='row'>{_cell(line[0])}</th>"
        + "".join(f"<td{_WRAPS * (len(c.text) > 24)}>{_cell(c)}</td>" for c in line[1:])
        + "</tr>"
        for line in group.lines
    )
    return f"<tbody>{heading}{lines}</tbody>"


_WRAPS = " class='text'"


def _cell(cell: Cell) -> str:
    # On narrow paper a line may break before the deviation, never within it.
    text = _text(cell.text).replace("\u00b1 ", "\u00b1&nbsp;")
    return f"<b>{text}</b>" if cell.best else text


def _text(text: str) -> str:
    return html.escape(text)
