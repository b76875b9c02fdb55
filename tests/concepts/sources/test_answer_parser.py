"""Phrases out of everything that language models write instead of what was asked."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.concepts.sources.answer_parser import parse_phrases

WANTED = ["long tail", "red bill", "grey wings"]

ANSWERS = {
    "as asked": '{"phrases": ["long tail", "red bill", "grey wings"]}',
    "a list": '["long tail", "red bill", "grey wings"]',
    "spread out": json.dumps({"phrases": WANTED}, indent=4),
    "fenced": 'Sure!\n```json\n{"phrases": ["long tail", "red bill", "grey wings"]}\n```\nBye.',
    "fence never closed": '```\n["long tail", "red bill", "grey wings"]',
    "another key": '{"concepts": ["long tail", "red bill", "grey wings"], "count": 3}',
    "nested": '{"result": {"phrases": ["long tail", "red bill", "grey wings"]}}',
    "objects": '[{"name": "long tail"}, {"name": "red bill"}, {"name": "grey wings"}]',
    "grouped": '{"parts": ["long tail", "red bill"], "colours": ["grey wings"]}',
    "prose round JSON": 'Here {is} it: ["long tail", "red bill", "grey wings"] as you asked.',
    "numbered": "1. long tail\n2. red bill\n3. grey wings",
    "numbered with brackets": "1) Long tail\n2) Red bill\n3) Grey wings",
    "bullets": "- long tail\n* red bill\n\u2022 grey wings",
    "bullets in prose": (
        "Here are some features:\n\n- long tail\n\n- red bill\n- grey wings\n\nTell me if you "
        "want more, or another list."
    ),
    "bold with remarks": (
        "1. **Long tail**: it balances the body\n2. **Red bill** - bright, hooked\n"
        "3. **Grey wings** (in summer)"
    ),
    "bold colon inside": "- **Long tail:** longer than it\n- **Red bill:** x\n- Grey wings: y",
    "letters": "a) long tail\nb) red bill\nc) grey wings",
    "articles and stops": "- a long tail.\n- The red bill;\n- grey wings,",
    "quoted": '- "long tail"\n- \u201cred bill\u201d\n- \u2018grey wings\u2019',
    "lines": "long tail\nred bill\ngrey wings\n",
    "lines with a head": "Concepts:\nlong tail\nred bill\ngrey wings",
    "commas": "long tail, red bill, grey wings",
    "a sentence": "A magpie has a long tail, a red bill, and grey wings.",
    "a colon": "Look for these: long tail; red bill; grey wings.",
    "thinking aloud": (
        "<think>\n1. maybe a beak?\n2. a leaf\n</think>\n- long tail\n- red bill\n- grey wings"
    ),
    "carriage returns": "1. long tail\r\n2. red bill\r\n3. grey wings\r\n",
    "said twice": "- long tail\n- red bill\n- long tail\n- grey wings",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_form_gives_the_phrases(kind):
    assert [phrase.lower() for phrase in parse_phrases(ANSWERS[kind])] == WANTED


@pytest.mark.parametrize("cut", range(14, 49))
def test_json_that_was_cut_off_gives_its_whole_strings(cut):
    text = ANSWERS["as asked"]
    assert parse_phrases(text[:cut]) == [phrase for phrase in WANTED if f'"{phrase}"' in text[:cut]]


def test_what_looks_like_a_list_inside_a_phrase_stays():
    assert parse_phrases('["black-and-white wings", "1. FC shirt", "3 toes"]') == [
        "black-and-white wings",
        "1. FC shirt",
        "3 toes",
    ]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "{}",
        '{"phrases": []}',
        "I cannot help with that.",
        "I'm sorry, but I can't say that.",
        "```\n```",
        "[1, 2]",
    ],
)
def test_no_phrase_is_no_phrase(answer):
    assert parse_phrases(answer) == []


def test_letters_of_other_scripts():
    assert parse_phrases("1. 长尾巴\n2. красный клюв\n3. rötlicher Bauch") == [
        "长尾巴",
        "красный клюв",
        "rötlicher Bauch",
    ]


WORDS = st.from_regex(r"[b-zé]{2,8} [b-z]{2,8}", fullmatch=True).filter(
    lambda phrase: not phrase.startswith("the ")
)


@given(st.text(alphabet='[]{}":,\\-*1. \nabтя`<think>/', max_size=120))
def test_no_answer_breaks_it(answer):
    phrases = parse_phrases(answer)
    assert all(phrase == phrase.strip() and phrase for phrase in phrases)
    assert len(set(phrases)) == len(phrases)


@given(st.lists(WORDS, min_size=1, unique=True))
def test_json_is_read_to_the_letter(phrases):
    assert parse_phrases(f"Yes:\n{json.dumps({'phrases': phrases})}\n1. no") == phrases


@given(st.lists(st.sampled_from(["a ", "An ", "the ", '"', "* ", "`", ". "]), min_size=1), WORDS)
def test_nothing_before_a_phrase_stays_and_articles_alone_are_no_phrase(before, phrase):
    assert parse_phrases(json.dumps(["".join(before) + phrase])) == [phrase]
    assert parse_phrases(json.dumps(["".join(before), phrase])) == [phrase]


@given(st.lists(st.sampled_from(["a", "the", "bill", ",", "and", '"', "is", "\n", "- ", "."])))
def test_what_was_read_is_read_again_as_it_is(words):
    phrases = parse_phrases(" ".join(words))
    assert parse_phrases(json.dumps(phrases)) == phrases


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("[" * 50_000, []),
        ('{"a":' * 20_000, []),
        ("b, " * 20_000, ["b"]),
        ('["b"' * 9_000, ["b"]),
        ('"a ' * 20_000, []),
        ("b" + " " * 49_000 + "c, d", ["b c", "d"]),
        ("b, " + "* " * 20_000 + "c", ["b"]),
    ],
)
def test_hostile_answers_end_soon(answer, wanted):
    begun = time.process_time()
    assert parse_phrases(answer) == wanted
    # Milliseconds; what grows with the square of the length takes minutes.
    assert time.process_time() - begun < 5
