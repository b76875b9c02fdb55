"""When two phrases say the same: articles, hyphens, plurals, spelling and "has" do not matter."""

import re
import unicodedata

_ARTICLES = frozenset({"a", "an", "the"})
# In front of a phrase these only say that the thing is there.
_LEADING = frozenset({"has", "have", "having", "it", "with"})
_SPELLINGS = {"color": "colour", "colored": "coloured", "gray": "grey"}
_IRREGULAR = {
    "buses": "bus",
    "children": "child",
    "feet": "foot",
    "geese": "goose",
    "halves": "half",
    "heroes": "hero",
    "hooves": "hoof",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "men": "man",
    "mice": "mouse",
    "potatoes": "potato",
    "scarves": "scarf",
    "shelves": "shelf",
    "teeth": "tooth",
    "tomatoes": "tomato",
    "wolves": "wolf",
    "women": "woman",
}
# What an English word may lose in the singular: the ending, its replacement, the shortest word.
_ENDINGS = (
    ("sses", "ss", 5),
    ("ches", "ch", 6),
    ("shes", "sh", 6),
    ("xes", "x", 5),
    ("ies", "y", 5),
    # Not a plural, but "hoodie" must meet "hoodies".
    ("ie", "y", 4),
    # Singular already: glass, cactus, iris.
    ("ss", "ss", 2),
    ("us", "us", 2),
    ("is", "is", 2),
    ("s", "", 4),
)


def phrase_key(phrase: str) -> str:
    """The same text for phrases that differ in case, articles, punctuation, number or spelling.

    A leading "has" or "with" goes too; the order of words stays, since "bill longer than head" is
    not "head longer than bill".

    English words lose their plural by rules and a short list; other scripts only their case. Made
    to compare phrases, not to be read; empty only where the phrase holds no letter, digit or sign.

    >>> phrase_key("The Red-Crowns"), phrase_key("a red crown"), phrase_key("hoodies")
    ('red crown', 'red crown', 'hoody')
    >>> phrase_key("It has gray wings"), phrase_key("with a grey wing")
    ('grey wing', 'grey wing')
    >>> phrase_key("Grüne Flügel"), phrase_key("A")
    ('grüne flügel', 'a')
    """
    text = unicodedata.normalize("NFKC", phrase)
    # Folding the case can undo the normal form, so that a second pass is needed.
    text = unicodedata.normalize("NFKC", text.casefold()).casefold()
    words = re.sub(r"['\u2019]s\b|[^\w\s]|_", _gap, text).split()
    words = [_spelled(_singular(word)) for word in words]
    told = [word for word in words if word not in _ARTICLES] or words
    # A phrase of signs alone ("+", "?!") is what it is.
    return " ".join(_without_leading(told)) or " ".join(text.split())


def _without_leading(words: list[str]) -> list[str]:
    first = next((n for n, word in enumerate(words) if word not in _LEADING), 0)
    return words[first:]


def _spelled(word: str) -> str:
    return _SPELLINGS.get(word, word)


def _gap(found: re.Match) -> str:
    # "bird's wing" is "bird wing"; a lone apostrophe, as in "dont", joins.
    return "" if found.group() in ("'", "\u2019") or len(found.group()) > 1 else " "


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, replacement, shortest in _ENDINGS:
        if word.endswith(ending) and len(word) >= shortest:
            return word.removesuffix(ending) + replacement
    return word
