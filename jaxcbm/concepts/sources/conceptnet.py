"""What ConceptNet's web API and its dump share: terms, relations, and phrases from edges."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from absl import logging

from jaxcbm.concepts.provenance import Candidate, Origin
from jaxcbm.errors import UserError

RELATIONS = ("HasA", "IsA", "PartOf", "HasProperty", "MadeOf", "AtLocation")
# Of some a class may be either end: petals are part of a flower, a stove is in a kitchen.
_BOTH_WAYS = frozenset({"PartOf", "AtLocation"})
_LICENCES = {"cc:by/4.0": "CC-BY-4.0", "cc:by-sa/4.0": "CC-BY-SA-4.0"}
_ARTICLES = ("a", "an", "the")


class Edge(NamedTuple):
    """One assertion of ConceptNet: `start` has `relation` to `end`.

    Attributes:
        uri: of the assertion.
        relation: such as /r/HasA.
        start, end: URIs such as /c/en/dog/n.
        weight: how sure it is; one person's statement has 1.
        licence: as SPDX names it.
    """

    uri: str
    relation: str
    start: str
    end: str
    weight: float
    licence: str


def term_of(language: str, text: str) -> str:
    """The URI of a text: lower case, words joined by _, English articles left out.

    >>> term_of("en", "The Great Grey-Shrike"), term_of("en", "bird of paradise")
    ('/c/en/great_grey_shrike', '/c/en/bird_of_paradise')
    """
    tokens = re.findall(r"[^\W_]+(?:['\u2019][^\W_]+)*", unicodedata.normalize("NFC", text).lower())
    if language == "en":
        tokens = [t for t in tokens if t not in _ARTICLES] or tokens
        while len(tokens) > 1 and tokens[0] == "to":
            tokens = tokens[1:]
    return f"/c/{language}/" + "_".join(tokens)


def root_of(uri: str) -> str:
    """A term's URI without part of speech and sense.

    >>> root_of("/c/en/dog/n/wn/animal")
    '/c/en/dog'
    """
    return "/".join(uri.split("/", 4)[:4])


def phrase_of(uri: str) -> str:
    """A term as text.

    >>> phrase_of("/c/en/four_legs/n")
    'four legs'
    """
    return root_of(uri).rpartition("/")[2].replace("_", " ")


def words_of(name: str) -> list[str]:
    """The words of a class name that are worth a look-up of their own: no numbers, no short ones.

    >>> words_of("3 toed sloth of the wood")
    ['toed', 'sloth', 'wood']
    """
    words = re.findall(r"[^\W\d_]+", name)
    return [word for word in words if len(word) > 2 and word.lower() not in _ARTICLES]


def checked_language(language: str) -> str:
    """A language code as ConceptNet writes it.

    Raises:
        UserError: it is none.
    """
    if not re.fullmatch(r"[a-z]{2,3}(_[a-z]+)?", language):
        raise UserError(f"{language!r:.60} is no language code: give en, de, zh, ...")
    return language


def other_end(edge: Edge, term: str) -> str | None:
    """The end of an edge that says something of `term`, in its language; None if neither does.

    >>> edge = Edge("", "PartOf", "/c/en/petal/n", "/c/en/flower", 1.0, "")
    >>> other_end(edge, "/c/en/flower"), other_end(edge._replace(relation="IsA"), "/c/en/flower")
    ('/c/en/petal/n', None)
    """
    start, end = root_of(edge.start), root_of(edge.end)
    language = term[: term.index("/", 3) + 1]
    if start == term and end != term and end.startswith(language):
        return edge.end
    backwards = edge.relation in _BOTH_WAYS and end == term and start != term
    return edge.start if backwards and start.startswith(language) else None


def candidate_of(edge: Edge, term: str, name: str, source: str, time: str) -> Candidate | None:
    """What an edge says of a class whose term is `term`, if anything."""
    other = other_end(edge, term)
    if other is None:
        return None
    licence = _LICENCES.get(edge.licence, edge.licence)
    origin = Origin(
        source, edge.uri, name, time=time, licence=licence, weight=round(edge.weight, 6)
    )
    return Candidate(phrase_of(other), origin)


class Hit(NamedTuple):
    """What an edge says of a class.

    Attributes:
        place: of the class in the list.
        edge: the assertion.
        candidate: the phrase that it gives.
    """

    place: int
    edge: Edge
    candidate: Candidate


def arranged(hits: Iterable[Hit]) -> list[Candidate]:
    """Each statement once, by class, relation and falling weight.

    The order does not depend on how the edges came, so that the API and the dump give one set.
    """
    rank = {relation: place for place, relation in enumerate(RELATIONS)}
    once = {(hit.place, hit.edge.uri, hit.candidate.phrase): hit for hit in hits}
    order = sorted(
        once.values(),
        key=lambda hit: (
            hit.place,
            rank[hit.edge.relation],
            -hit.edge.weight,
            hit.candidate.phrase,
            hit.edge.uri,
        ),
    )
    return [hit.candidate for hit in order]


def tell_unknown(names: Sequence[str], classes: int, word_by_word: bool) -> None:
    """Warn of classes that ConceptNet says nothing about.

    Raises:
        UserError: it says nothing of any.
    """
    hint = "" if word_by_word else " (ask word by word to find more)"
    if len(names) == classes:
        raise UserError(
            f"ConceptNet says nothing of the {classes} classes, {names[0]!r:.60} first{hint}"
        )
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        logging.warning("ConceptNet says nothing of %d classes%s: %s", len(names), hint, shown)
