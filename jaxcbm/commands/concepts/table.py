"""Concept sets and their logs as lines of text for a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.diff import ConceptDiff
from jaxcbm.concepts.filters.log import FilterRun
from jaxcbm.lines import aligned, printable


def filter_table(runs: Sequence[FilterRun], lines: int = 20) -> str:
    """What each filter dropped and why, with at most so many lines of phrases each.

    >>> from jaxcbm.concepts.filters.log import Dropped
    >>> print(filter_table([FilterRun("length", {"at_most": 9}, 3, (Dropped("so long a tail", ""
    ...     "14 characters"),))]))
    filter  settings   dropped  kept
    length  at_most=9        1     3
    <BLANKLINE>
    length
      so long a tail  14 characters
    """
    rows = [
        (run.name, _settings(run.settings), str(len(run.dropped)), str(run.kept)) for run in runs
    ]
    parts = aligned([("filter", "settings", "dropped", "kept"), *rows], right=(2, 3))
    for run in runs:
        if run.dropped:
            shown = [(f"  {printable(drop.phrase)}", drop.reason) for drop in run.dropped[:lines]]
            parts += ["", run.name, *aligned(shown)]
            if len(run.dropped) > lines:
                parts.append(f"  ... and {len(run.dropped) - lines:,} more")
    return "\n".join(parts)


def set_summary(concepts: ConceptSet, lines: int = 20) -> str:
    """Size, hash, where the phrases come from, what filters did, and the phrases themselves."""
    parts = [f"{len(concepts):,} phrases, hash {concepts.content_hash[:12]}"]
    parts += [f"{key}: {_settings(value)}" for key, value in concepts.provenance.items()]
    counts = Counter(
        (origin.source, origin.model, origin.licence or "unknown")
        for origins in concepts.origins.values()
        for origin in origins
    )
    if counts:
        rows = [(*key, str(count)) for key, count in counts.most_common()]
        head = ("source", "model", "licence", "phrases")
        parts += ["", *aligned([head, *rows], right=(3,))]
    if concepts.filters:
        parts += ["", filter_table(concepts.filters, lines)]
    return "\n".join([*parts, "", "phrases", *(f"  {printable(p)}" for p in concepts.phrases)])


def diff_table(change: ConceptDiff) -> str:
    """Added, removed (and why) and kept phrases.

    >>> print(diff_table(ConceptDiff(("paw",), ("tail",), ("fur",), False, {"tail": "length"})))
    1 added, 1 removed, 1 kept
      + paw
      - tail  length
    """
    parts = [
        f"{len(change.added)} added, {len(change.removed)} removed, {len(change.kept)} kept"
        + (", in another order" if change.reordered else "")
    ]
    parts += [f"  + {printable(phrase)}" for phrase in change.added]
    gone = [(f"  - {printable(p)}", change.reasons.get(p, "")) for p in change.removed]
    return "\n".join([*parts, *aligned(gone)])


def _settings(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "-"
    return printable(str(value), 200)
