"""Phrases from whatever a language model wrote: JSON, half of it, lists, or prose."""

import itertools
import json
import re
from typing import Any

_FENCE = re.compile(r"```[\w-]*\s*\n(.*?)(?:```|\Z)", re.DOTALL)
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_ITEM = re.compile(
    r"^\s*(?:[-*+\u2022\u2023\u25aa\u2013\u2014]|\(?(?:\d{1,3}|[a-zA-Z])[.):])\s+(.+)$"
)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?')
_VERB = re.compile(
    r"\b(?:has|have|having|with|is|are|includes?|including|shows?|features?|such as|like)\b|:",
    re.IGNORECASE,
)
_JOINTS = re.compile(r"[,;]\s*(?:and|or)?\s+|\s+and\s+|\s+or\s+")
_REFUSAL = re.compile(r"\b(?:I|sorry|cannot|can't)\b", re.IGNORECASE)
_MARKS = " \"'\u201c\u201d\u2018\u2019.,;:!?"
_START = re.compile(rf"^(?:[{_MARKS}]|(?:an?|the)(?: |$))+", re.IGNORECASE)
_LONGEST_PROSE_WORDS = 8
# An honest answer is far below both; a hostile one must not take long.
_MOST_LETTERS = 50_000
_MOST_STARTS = 40


def parse_phrases(answer: str) -> list[str]:
    """The phrases in an answer, in their order.

    The first of these that gives any: a JSON value anywhere in the text; the whole strings of JSON
    that was cut off; items of a bulleted or numbered list, whatever stands around it; short lines;
    the enumerations in sentences. Nothing in the answer is obeyed or run.

    Args:
        answer: what the model wrote.

    Returns:
        Phrases without marks, quotes, leading articles and final stops; none where it has none.

    >>> parse_phrases('Sure! {"phrases": ["long tail", "a red bill"]}')
    ['long tail', 'red bill']
    >>> parse_phrases("Here you are:\\n1. **Long tail**: it balances\\n2) red bill.")
    ['Long tail', 'red bill']
    >>> parse_phrases("It has a long tail, a red bill and grey wings.")
    ['long tail', 'red bill', 'grey wings']
    """
    answer = _THOUGHT.sub("", answer[:_MOST_LETTERS]).strip()
    fenced = "\n".join(_FENCE.findall(answer)).strip()
    for text in (fenced, answer):
        if not text:
            continue
        is_json = text[0] in "{[" and text[-1] in "}]"
        words = () if is_json else (_from_list, _from_lines, _from_prose)
        for read in (_from_json, _from_broken_json, *words):
            phrases = [phrase for phrase in map(_clean, read(text)) if phrase]
            if phrases:
                return list(dict.fromkeys(phrases))
    return []


def _from_json(text: str) -> list[str]:
    decoder = json.JSONDecoder(strict=False)
    starts = (match.start() for match in re.finditer(r"[{\[]", text))
    for start in itertools.islice(starts, _MOST_STARTS):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        phrases = _strings(value)
        if phrases:
            return phrases
    return []


def _strings(value: Any, depth: int = 0) -> list[str]:
    """The texts in lists, however the object around them is named."""
    if depth > 4:
        return []
    if isinstance(value, list):
        return [s for v in value for s in ([v] if isinstance(v, str) else _strings(v, depth + 1))]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("phrases"), list):
        return _strings(value["phrases"], depth + 1)
    lists = [
        s for v in value.values() if isinstance(v, list | dict) for s in _strings(v, depth + 1)
    ]
    named = next((value[k] for k in ("phrase", "concept", "name", "text") if k in value), None)
    return lists or ([named] if isinstance(named, str) and depth else [])


def _from_broken_json(text: str) -> list[str]:
    if not re.match(r"\s*[{\[]\s*[\"{\[]", text):
        return []
    return [string for string, is_key in _STRING.findall(text) if not is_key]


def _from_list(text: str) -> list[str]:
    items = [match.group(1) for match in map(_ITEM.match, text.splitlines()) if match]
    return [_head(item) for item in items]


def _from_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = lines[1:] if len(lines) > 1 and lines[0].endswith(":") else lines
    if len(lines) < 2 or any(len(line.split()) > _LONGEST_PROSE_WORDS for line in lines):
        return []
    return [_head(line) for line in lines]


def _from_prose(text: str) -> list[str]:
    phrases = []
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        parts = _JOINTS.split(" ".join(sentence.split()))
        if len(parts) < 2 or _REFUSAL.search(sentence):
            continue
        verbs = list(_VERB.finditer(parts[0]))
        parts[0] = parts[0][verbs[-1].end() :] if verbs else parts[0]
        phrases += [part for part in parts if len(part.split()) <= _LONGEST_PROSE_WORDS]
    return phrases


def _head(item: str) -> str:
    """What a list item names, without the remark after it: "Tail: long" names the tail."""
    return re.split(r"\s*:\s+|:\*\*|\s+[-\u2013\u2014]\s+|\s+\(", item.strip(), maxsplit=1)[0]


def _clean(phrase: str) -> str:
    """The phrase alone; articles go however many they are, and whatever marks stand among them."""
    phrase = " ".join(re.sub(r"[*_`#]", "", phrase).split()).rstrip(_MARKS)
    return _START.sub("", phrase)
