"""Phrases from ConceptNet's dump of assertions, with no network."""

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import logging

from jaxcbm.concepts.provenance import Candidate, utc_now
from jaxcbm.concepts.sources.conceptnet import (
    RELATIONS,
    Edge,
    Hit,
    arranged,
    candidate_of,
    checked_language,
    root_of,
    tell_unknown,
    term_of,
    words_of,
)
from jaxcbm.concepts.sources.source import checked_classes
from jaxcbm.errors import UserError
from jaxcbm.json_text import parse_json

_LINES_A_WORD = 1 << 18
_LONGEST_LINE = 1 << 20
_BUFFER = 1 << 18
_Terms = dict[str, list[int]]


def from_conceptnet_dump(
    classes: Sequence[str],
    path: str | Path,
    *,
    language: str = "en",
    word_by_word: bool = False,
    minimum_weight: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Read once through the assertions, keeping only edges of the classes.

    Memory grows with the edges found, not with the lines read. The 34 million lines of version 5.7
    (conceptnet-assertions-5.7.0.csv.gz, 0.5 GB) take a minute or two.

    Args:
        classes: K names; each is looked up whole.
        path: the dump, gzipped or not. A line has five columns with tabs between: the edge's URI,
            the relation, the start, the end, and JSON with weight and licence.
        language: of the names and the phrases, a code such as "en".
        word_by_word: whether a name that is not known whole is looked up word by word.
        minimum_weight: edges below it are left out; one person's statement has weight 1.
        progress: told the bytes of the file that are read, and how many there are.

    Returns:
        Candidates by class, relation and falling weight, the same as from the API.

    Raises:
        UserError: bad class names or settings, no such file, another format, a file that ends
            early, or nothing known.

    Reference:
        Speer, Chin and Havasi, ConceptNet 5.5, 2017, arXiv 1612.03975.
    """
    names = checked_classes(classes)
    language = checked_language(language)
    path = Path(path)
    whole = _places(((term_of(language, name), place) for place, name in enumerate(names)))
    words: _Terms = {}
    if word_by_word:
        words = _places(
            (term_of(language, word), place)
            for place, name in enumerate(names)
            for word in words_of(name)
        )
    by_whole: list[Hit] = []
    by_word: list[Hit] = []
    time, source = utc_now(), f"ConceptNet dump {path.name}"
    for edge in _edges(path, whole.keys() | words.keys(), progress):
        if edge.weight < minimum_weight:
            continue
        for term in {root_of(edge.start), root_of(edge.end)}:
            for terms, hits in ((whole, by_whole), (words, by_word)):
                for place in terms.get(term, ()):
                    candidate = candidate_of(edge, term, names[place], source, time)
                    if candidate:
                        hits.append(Hit(place, edge, candidate))
    known = {hit.place for hit in by_whole}
    hits = by_whole + [hit for hit in by_word if hit.place not in known]
    known = {hit.place for hit in hits}
    unknown = [name for place, name in enumerate(names) if place not in known]
    tell_unknown(unknown, len(names), word_by_word)
    return arranged(hits)


def _places(pairs: Iterator[tuple[str, int]]) -> _Terms:
    """The classes that share each term."""
    places: _Terms = {}
    for term, place in pairs:
        places.setdefault(term, []).append(place)
    return places


def _edges(
    path: Path,
    terms: set[str],
    progress: Callable[[int, int], None] | None,
) -> Iterator[Edge]:
    """The edges that touch a term, in the file's order."""
    # Nearly all lines are of no use: they are told apart as bytes, before anything is decoded.
    wanted = {f"/r/{relation}".encode() for relation in RELATIONS}
    roots = {term.encode() for term in terms}
    broken, line, number = 0, b"", 0
    for number, line in enumerate(_lines(path, progress), start=1):
        fields = line.split(b"\t")
        if len(fields) != 5 or not fields[1].startswith(b"/r/"):
            if number == 1:
                raise UserError(
                    f"{path} is no dump of ConceptNet's assertions: its first line has "
                    f"{len(fields)} columns, not an edge, a relation, two terms and JSON"
                )
            broken += 1
            continue
        if fields[1] not in wanted:
            continue
        if _root(fields[2]) in roots or _root(fields[3]) in roots:
            edge = _edge(fields)
            broken += edge is None
            if edge:
                yield edge
    if number == 0:
        raise UserError(f"{path} is empty: download the dump again")
    if broken:
        logging.warning("%s: %d of %d lines are no edges; left out", path, broken, number)


def _root(uri: bytes) -> bytes:
    return uri if uri.count(b"/") == 3 else b"/".join(uri.split(b"/", 4)[:4])


def _edge(fields: list[bytes]) -> Edge | None:
    try:
        uri, relation, start, end, text = (field.decode("utf-8") for field in fields)
        info = parse_json(text)
        weight, licence = float(info["weight"]), str(info.get("license", ""))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return Edge(uri, relation.removeprefix("/r/"), start, end, weight, licence)


def _lines(path: Path, progress: Callable[[int, int], None] | None) -> Iterator[bytes]:
    """The lines of a file, gzipped or not, without holding more than one."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            zipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            # A wider buffer than gzip's own saves a third of the time.
            stream = io.BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER) if zipped else file
            number = 0
            while line := stream.readline(_LONGEST_LINE):
                yield line
                number += 1
                if progress and number % _LINES_A_WORD == 0:
                    progress(min(file.tell(), size - 1), size)
            if progress:
                progress(size, size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is damaged or ends early ({error}): download it again") from error
    except FileNotFoundError:
        raise UserError(
            f"no such dump: {path} (get conceptnet-assertions-5.7.0.csv.gz from "
            "https://github.com/commonsense/conceptnet5/wiki/Downloads)"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
