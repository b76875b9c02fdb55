"""The report's tables as Markdown."""

import re
from collections.abc import Iterable, Iterator, Sequence

from jaxcbm.report.facts import TITLE, Section, facts, section_title, warning
from jaxcbm.report.published_tables import all_published_table, published_table
from jaxcbm.report.tables import (
    Cell,
    Table,
    further_table,
    intervention_table,
    main_table,
    nec_table,
    released_table,
)

_SPECIAL = re.compile(r"([\\`*_\[\]|#~])")


def markdown_report(report: Sequence[Section]) -> str:
    """Every table of the report; the figures are in the HTML page.

    Args:
        report: from `jaxcbm.report.facts.sections`.
    """
    parts = [f"# {TITLE}", "Written by `jaxcbm report`; figures are in report.html."]
    for section in report:
        result = section.result
        parts.append(f"## {escape(section_title(section))}")
        parts += [f"**{escape(alarm)}**"] if (alarm := warning(result)) else []
        parts.append("\n".join(f"- {what}: {escape(text)}" for what, text in facts(result)))
        parts += [escape(note) for note in result.notes]
        parts += [markdown_table(table) for table in _tables(section)]
    if any(published_table(section.result) is None for section in report):
        parts += ["## Published numbers", markdown_table(all_published_table())]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """One table with its heading and notes.

    >>> from jaxcbm.report.tables import Group
    >>> lines = ((Cell("a|b"), Cell("1.0", best=True)),)
    >>> print(markdown_table(Table("Rows", ("name", "x"), (Group("", lines),))))
    ### Rows
    <BLANKLINE>
    | name | x |
    |---|---|
    | a\\|b | **1.0** |
    """
    lines = [_line(map(escape, table.header)), "|" + "---|" * len(table.header)]
    for group in table.groups:
        if group.title:
            blanks = [""] * (len(table.header) - 1)
            title = f"*{escape(group.title)}*"
            title = f"[{title}]({group.link})" if group.link else title
            lines.append(_line([title, *blanks]))
        lines += [_line(map(_cell, line)) for line in group.lines]
    notes = [f"- {escape(note)}" for note in table.notes]
    blocks = [f"### {escape(table.caption)}", "\n".join(lines), "\n".join(notes)]
    return "\n\n".join(block for block in blocks if block)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line.

    >>> escape("<b> a_b\\n| c")
    '&lt;b&gt; a\\\\_b \\\\| c'
    """
    tame = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", " ".join(tame.split()))


def _tables(section: Section) -> Iterator[Table]:
    result = section.result
    made = (
        *(main_table(result), further_table(result), nec_table(result)),
        *(intervention_table(result), released_table(section), published_table(result)),
    )
    return (table for table in made if table is not None)


def _cell(cell: Cell) -> str:
    return f"**{escape(cell.text)}**" if cell.best else escape(cell.text)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
