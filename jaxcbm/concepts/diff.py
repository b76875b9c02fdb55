"""What changed from one concept set to another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxcbm.concepts.filters.log import FilterRun


class ConceptDiff(NamedTuple):
    """The difference of two concept sets; phrases are the same but for case.

    Attributes:
        added: phrases of the second set alone, in its order.
        removed: phrases of the first set alone, in its order.
        kept: phrases of both, in the order of the second.
        reordered: whether the phrases of both stand in another order, which changes the hash.
        reasons: why a removed phrase went, where a filter of the second set says so.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    reordered: bool
    reasons: Mapping[str, str]


def diff(before: Sequence[str], after: Sequence[str], log: Sequence[FilterRun] = ()) -> ConceptDiff:
    """Compare the phrases of two sets.

    Args:
        before: the first set's phrases.
        after: the second set's phrases.
        log: the filters that the second set went through.

    Returns:
        A `ConceptDiff`.

    >>> diff(["tail", "fur"], ["fur", "paw"])
    ConceptDiff(added=('paw',), removed=('tail',), kept=('fur',), reordered=False, reasons={})
    """
    old = {phrase.casefold() for phrase in before}
    new = {phrase.casefold() for phrase in after}
    removed = tuple(phrase for phrase in before if phrase.casefold() not in new)
    kept = tuple(phrase for phrase in after if phrase.casefold() in old)
    old_order = [phrase.casefold() for phrase in before if phrase.casefold() in new]
    said = {drop.phrase.casefold(): (run, drop) for run in log for drop in run.dropped}
    reasons = {
        phrase: f"{said[phrase.casefold()][0].name}: {said[phrase.casefold()][1].reason}"
        for phrase in removed
        if phrase.casefold() in said
    }
    return ConceptDiff(
        added=tuple(phrase for phrase in after if phrase.casefold() not in old),
        removed=removed,
        kept=kept,
        reordered=old_order != [phrase.casefold() for phrase in kept],
        reasons=reasons,
    )
