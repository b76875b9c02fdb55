"""Phrases from ConceptNet's web API."""

import functools
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxcbm.concepts.provenance import Candidate, utc_now
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.concepts.sources.conceptnet import (
    RELATIONS,
    Edge,
    Hit,
    arranged,
    candidate_of,
    checked_language,
    tell_unknown,
    term_of,
    words_of,
)
from jaxcbm.concepts.sources.json_requests import checked_base_url, get_json
from jaxcbm.concepts.sources.retries import RetryPolicy, Transient, with_retries
from jaxcbm.concepts.sources.source import checked_classes
from jaxcbm.errors import UserError

BASE_URL = "https://api.conceptnet.io"
_PAGE = 1000
_MOST_PAGES = 50


class _Page(NamedTuple):
    edges: list[Edge]
    next: str | None
    time: str


def from_conceptnet_api(
    classes: Sequence[str],
    cache: AnswerCache,
    *,
    base_url: str = BASE_URL,
    language: str = "en",
    word_by_word: bool = False,
    minimum_weight: float = 1.0,
    requests_per_second: float = 1.0,
    timeout: float = 30.0,
    retry_policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen: a shared default cannot change
    progress: Callable[[int, int], None] | None = None,
) -> list[Candidate]:
    """Ask ConceptNet's API what it knows of each class.

    Every page is kept in the cache; a stopped run continues and asks nothing twice.

    Args:
        classes: K names; each is looked up whole.
        cache: where pages are kept.
        base_url: of the API; your own server's, or the public one.
        language: of the names and the phrases, a code such as "en".
        word_by_word: whether a name that is not known whole is looked up word by word; the phrases
            may then be about something else ("fox" for "fox sparrow").
        minimum_weight: edges below it are left out; one person's statement has weight 1.
        requests_per_second: at most so many; the public server allows 3,600 an hour.
        timeout: seconds without a byte.
        retry_policy: how often a busy server is asked again.
        progress: told the classes done and K.

    Returns:
        Candidates by class, relation and falling weight, the same as from the dump's edges.

    Raises:
        UserError: bad class names or settings, no answer from the server, or nothing known.

    Reference:
        Speer, Chin and Havasi, ConceptNet 5.5, 2017, arXiv 1612.03975.
    """
    names = checked_classes(classes)
    language = checked_language(language)
    base_url = checked_base_url(base_url)
    if not requests_per_second > 0:
        raise UserError(f"requests_per_second is {requests_per_second}: give more than 0")
    ask = functools.partial(
        _page, base_url, cache, _Pause(requests_per_second), timeout, retry_policy
    )

    def hits_of(place: int, term: str) -> list[Hit]:
        edges = (
            (edge, page.time)
            for relation in RELATIONS
            for page in _pages(ask, term, relation)
            for edge in page.edges
            if edge.relation == relation and edge.weight >= minimum_weight
        )
        said = (
            (edge, candidate_of(edge, term, names[place], "ConceptNet API", time))
            for edge, time in edges
        )
        return [Hit(place, edge, candidate) for edge, candidate in said if candidate]

    hits: list[Hit] = []
    unknown: list[str] = []
    for place, name in enumerate(names):
        found = hits_of(place, term_of(language, name))
        if not found and word_by_word:
            for word in words_of(name):
                found += hits_of(place, term_of(language, word))
        hits += found
        unknown += [] if found else [name]
        if progress:
            progress(place + 1, len(names))
    tell_unknown(unknown, len(names), word_by_word)
    return arranged(hits)


class _Pause:
    """Waits so that requests keep their distance."""

    def __init__(self, requests_per_second: float):
        self.distance = 1.0 / requests_per_second
        self.next = 0.0

    def __call__(self) -> None:
        time.sleep(max(0.0, self.next - time.monotonic()))
        self.next = time.monotonic() + self.distance


def _pages(ask: Callable[[str], _Page], term: str, relation: str) -> Iterator[_Page]:
    query = urllib.parse.urlencode(
        {"node": term, "rel": f"/r/{relation}", "limit": _PAGE}, safe="/"
    )
    following: str | None = f"/query?{query}"
    seen: set[str] = set()
    # A server that names a page twice would be asked for ever.
    while following is not None and following not in seen and len(seen) < _MOST_PAGES:
        seen.add(following)
        page = ask(following)
        yield page
        following = page.next


def _page(
    base_url: str,
    cache: AnswerCache,
    pause: Callable[[], None],
    timeout: float,
    retry_policy: RetryPolicy,
    path: str,
) -> _Page:
    request = {"source": "ConceptNet API", "base_url": base_url, "path": path}
    kept = cache.find(request)
    if kept is not None:
        return _Page([Edge(*edge) for edge in kept["edges"]], kept["next"], kept["time"])

    def ask() -> _Page:
        pause()
        return _read_page(get_json(base_url + path, timeout))

    page = with_retries(ask, retry_policy, base_url)
    cache.keep(request, {"edges": page.edges, "next": page.next, "time": page.time})
    return page


def _read_page(value: Any) -> _Page:
    if not isinstance(value, dict) or not isinstance(value.get("edges"), list):
        raise Transient("an answer without edges")
    view = value.get("view")
    following = view.get("nextPage") if isinstance(view, dict) else None
    # Only a page of the same query on the same server.
    if not isinstance(following, str) or not following.startswith("/query?"):
        following = None
    edges = [edge for edge in map(_edge, value["edges"]) if edge]
    return _Page(edges, following, utc_now())


def _edge(value: Any) -> Edge | None:
    """An edge between two terms; None for a link to another site, or what is no edge."""
    try:
        uri, start, end = value["@id"], value["start"]["@id"], value["end"]["@id"]
        relation = value["rel"]["@id"].removeprefix("/r/")
        weight, licence = float(value["weight"]), str(value.get("license", ""))
        is_edge = all(text.startswith("/c/") for text in (start, end)) and isinstance(uri, str)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return Edge(uri, relation, start, end, weight, licence) if is_edge else None
