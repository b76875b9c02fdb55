"""Phrases from what people have already: concept files, and vocabularies with a word a line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate, Origin, utc_now
from jaxcbm.concepts.sources.source import checked_classes
from jaxcbm.errors import UserError
from jaxcbm.text_file import read_text


def from_concept_file(
    classes: Sequence[str], path: str | Path, *, licence: str = ""
) -> list[Candidate]:
    """The phrases of a concept file or a built-in set.

    Args:
        classes: K names; the file does not know them.
        path: what `ConceptSet.from_file` reads.
        licence: of the file, where it does not say so itself.

    Returns:
        Candidates in the order of the file, with the origins that a .json file holds.

    Raises:
        UserError: bad class names, or a file that `ConceptSet.from_file` refuses.

    >>> from_concept_file(["wren"], "birds")[0].origin.source
    'built-in birds'
    """
    checked_classes(classes)
    concepts = ConceptSet.from_file(path)
    source = str(concepts.provenance.get("source", path))
    known = str(concepts.provenance.get("licence", ""))
    own = (Origin(source, time=utc_now(), licence=licence or known),)
    return [
        Candidate(phrase, origin)
        for phrase in concepts.phrases
        for origin in concepts.origins.get(phrase, own)
    ]


def from_vocabulary(
    classes: Sequence[str], path: str | Path, *, limit: int | None = None, licence: str = ""
) -> list[Candidate]:
    """The words of a list, most frequent first as such lists are.

    Args:
        classes: K names; the list does not know them.
        path: a word or phrase a line; what follows a tab (a count) is left out, and so are lines
            that start with #.
        limit: take so many words from the top; None takes all.
        licence: of the list.

    Returns:
        Candidates in the order of the list.

    Raises:
        UserError: bad class names, no such file, an empty one, or a limit below 1.
    """
    checked_classes(classes)
    if limit is not None and limit < 1:
        raise UserError(f"limit is {limit}: give at least 1, or none for the whole list")
    origin = Origin(f"vocabulary {Path(path).name}", time=utc_now(), licence=licence)
    found = []
    for _, line in read_lines(path):
        if limit is not None and len(found) == limit:
            break
        word = line.partition("\t")[0].strip()
        if word and not word.startswith("#"):
            found.append(Candidate(word, origin))
    if not found:
        raise UserError(f"no words in {path}: give one a line")
    return found


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file that are not blank, with their numbers.

    Raises:
        UserError: no such file, or not UTF-8.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.strip()
