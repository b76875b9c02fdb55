"""ConceptNet's API and dump: every edge once, whatever the server does, and the same from both."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from absl import logging
from loopback import EDGES, STUMBLES, api_edge, dump_line, loopback

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.concepts.sources.conceptnet import RELATIONS, term_of
from jaxcbm.concepts.sources.conceptnet_api import from_conceptnet_api
from jaxcbm.concepts.sources.conceptnet_dump import from_conceptnet_dump
from jaxcbm.concepts.sources.retries import RetryPolicy
from jaxcbm.errors import UserError

DOG = ["tail", "four legs", "wet nose", "é tag", "animal", "canine", "pack", "paw", "loyal", "bone"]
QUICK = {"requests_per_second": 1e6, "timeout": 0.3, "retry_policy": RetryPolicy(8, 0.001)}


@pytest.fixture
def server():
    with loopback() as running:
        running.edges = EDGES
        yield running


@pytest.fixture
def told(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *parts: lines.append(text % parts))
    return lines


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "assertions.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(map(dump_line, EDGES))
    return path


def phrases(candidates) -> list[str]:
    return [candidate.phrase for candidate in candidates]


def test_pages_are_followed_and_edges_say_what_they_mean(server, tmp_path):
    found = from_conceptnet_api(["dog"], AnswerCache(tmp_path), base_url=server.url, **QUICK)
    assert phrases(found) == sorted(DOG, key=DOG.index)
    # Four edges of HasA make two pages of two, and each page is asked for once.
    assert len(set(server.requests)) == len(server.requests) > 6
    origin = found[0].origin
    assert (origin.source, origin.class_name) == ("ConceptNet API", "dog")
    assert origin.query == "/a/[/r/HasA/,/c/en/dog/n/,/c/en/tail/]"
    assert (origin.weight, origin.licence) == (6.5, "CC-BY-SA-4.0") and origin.time


@pytest.mark.parametrize("stumble", STUMBLES)
def test_every_phrase_arrives_once_through_every_stumble(server, tmp_path, stumble):
    server.script = [stumble, "", stumble, stumble, "", "", stumble]
    found = from_conceptnet_api(["dog"], AnswerCache(tmp_path), base_url=server.url, **QUICK)
    assert phrases(found) == DOG
    assert server.script == []


def test_the_dump_gives_the_same_set(server, tmp_path, dump):
    names = ["Great Grey-Shrike", "dog", "fox"]
    api = from_conceptnet_api(names, AnswerCache(tmp_path), base_url=server.url, **QUICK)
    offline = from_conceptnet_dump(names, dump)
    assert phrases(api) == phrases(offline) == ["hooked bill", *DOG, "canine", "red"]
    a, b = ConceptSet.from_candidates(api), ConceptSet.from_candidates(offline)
    assert a.content_hash == b.content_hash
    assert [c.origin.query for c in api] == [c.origin.query for c in offline]
    plain = tmp_path / "assertions.csv"
    plain.write_bytes(gzip.decompress(dump.read_bytes()))
    assert phrases(from_conceptnet_dump(names, plain)) == phrases(api)


def test_words_are_looked_up_only_when_asked(server, tmp_path, dump, told):
    names = ["fox sparrow", "masked shrike", "dog", "zzz 3"]

    def both(**settings):
        cache = AnswerCache(tmp_path / str(settings))
        api = from_conceptnet_api(names, cache, base_url=server.url, **settings, **QUICK)
        offline = from_conceptnet_dump(names, dump, **settings)
        assert phrases(api) == phrases(offline)
        return api

    assert phrases(both()) == DOG
    shown = "ConceptNet says nothing of 3 classes (ask word by word to find more): fox sparrow, "
    assert all(line.startswith(shown) for line in told) and len(told) == 2
    told.clear()
    words = both(word_by_word=True)
    assert phrases(words) == ["canine", "red", "black mask", *DOG]
    assert {c.origin.class_name for c in words} == {"fox sparrow", "masked shrike", "dog"}
    assert told == ["ConceptNet says nothing of 1 classes: zzz 3"] * 2
    # A name that is known whole is not taken apart: "shrike" alone has a black mask.
    names[:] = ["great grey shrike"]
    assert phrases(both(word_by_word=True, minimum_weight=0.9)) == ["hooked bill"]


def test_weights_and_languages_are_settings(server, tmp_path, dump):
    def both(names, **settings):
        cache = AnswerCache(tmp_path / str(settings))
        api = from_conceptnet_api(names, cache, base_url=server.url, **settings, **QUICK)
        assert phrases(api) == phrases(from_conceptnet_dump(names, dump, **settings))
        return phrases(api)

    assert both(["dog"], minimum_weight=2.0)[:2] == ["tail", "four legs"]
    assert "weak claim" in both(["dog"], minimum_weight=0)
    assert both(["Hund"], language="de") == ["schwanz"]


def test_names_become_terms_as_conceptnet_writes_them():
    assert term_of("en", "T-Shirt") == "/c/en/t_shirt"
    assert term_of("en", "to the lighthouse") == "/c/en/lighthouse"
    assert term_of("en", "The A") == "/c/en/the_a"
    assert term_of("en", "men's  shoe, left") == "/c/en/men's_shoe_left"
    assert term_of("de", "Die Tür") == "/c/de/die_tür" == term_of("de", "die Tu\u0308r")
    assert term_of("zh", "马") == "/c/zh/马"


def test_a_second_run_asks_nothing(server, tmp_path):
    cache = AnswerCache(tmp_path)
    first = from_conceptnet_api(["dog"], cache, base_url=server.url, **QUICK)
    asked = len(server.requests)
    assert from_conceptnet_api(["dog"], cache, base_url=server.url, **QUICK) == first
    assert len(server.requests) == asked


def test_a_run_that_fails_keeps_what_it_has(server, tmp_path):
    cache = AnswerCache(tmp_path)
    server.script = [""] * 4 + ["busy for an hour"]
    with pytest.raises(UserError, match=r"asks to wait 3600 s .*run the same command later"):
        from_conceptnet_api(["dog"], cache, base_url=server.url, **QUICK)
    found = from_conceptnet_api(["dog"], cache, base_url=server.url, **QUICK)
    assert phrases(found) == DOG
    assert len(server.requests) == len(set(server.requests)) + 1


def test_a_killed_run_continues(server, tmp_path):
    server.pause = 0.05
    code = (
        "from jaxcbm.concepts.sources.cache import AnswerCache;"
        "from jaxcbm.concepts.sources.conceptnet_api import from_conceptnet_api;"
        f"from_conceptnet_api(['dog'], AnswerCache({str(tmp_path)!r}), base_url={server.url!r},"
        "requests_per_second=1e6)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    while len(server.requests) < 4:
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    server.pause = 0.0
    time.sleep(0.1)
    before = len(server.requests)
    found = from_conceptnet_api(
        ["dog"], AnswerCache(tmp_path), base_url=server.url, **{**QUICK, "timeout": 5.0}
    )
    assert phrases(found) == DOG
    # Only the page under way when the run was killed is asked for again.
    again = server.requests[before:]
    assert len(server.requests) - len(set(server.requests)) <= 1
    assert len(again) < len(set(server.requests)) - 2
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_bytes())


def test_requests_keep_their_distance(server, tmp_path):
    begun = time.monotonic()
    settings = {**QUICK, "requests_per_second": 20.0}
    from_conceptnet_api(["dog"], AnswerCache(tmp_path), base_url=server.url, **settings)
    assert time.monotonic() - begun >= 0.05 * (len(server.requests) - 1) > 0.04


def test_a_server_that_goes_in_circles_is_left(server, tmp_path, monkeypatch):
    value = {
        "edges": [api_edge("HasA", "dog", "tail"), 3, {"@id": "x"}],
        "view": {"nextPage": "/query?a=1"},
    }
    monkeypatch.setattr(server.RequestHandlerClass, "_conceptnet", lambda self: (200, value))
    found = from_conceptnet_api(["dog"], AnswerCache(tmp_path), base_url=server.url, **QUICK)
    assert phrases(found) == ["tail"] and len(server.requests) == len(RELATIONS) + 1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "no classes"),
        ("dog", "one text"),
        ([""], "class 1 has no name"),
        (["dog", " \t "], "class 2 has no name"),
        (["dog", "cat", "DOG "], "class 3 is class 1 again: 'DOG'"),
        (["dog\x00"], "class 1 holds a control character"),
        (["d" * 10_000], "class 1 has 10,000 characters"),
        ([3], "class 1 is no text"),
    ],
)
def test_bad_class_names_are_refused_before_anything_is_asked(
    server, tmp_path, dump, classes, message
):
    cache = AnswerCache(tmp_path / "cache")
    for ask in (
        lambda: from_conceptnet_api(classes, cache, base_url=server.url, **QUICK),
        lambda: from_conceptnet_dump(classes, dump),
    ):
        with pytest.raises(UserError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    assert server.requests == [] and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_url": "ftp://host"}, "is no URL"),
        ({"base_url": "file:///etc/passwd"}, "is no URL"),
        ({"base_url": "http://[::1"}, "is no URL"),
        ({"base_url": "http://user:pass@host/"}, "URL of host holds a password"),
        ({"base_url": "http://host/?key=1"}, "URL of host holds a password or a query"),
        ({"language": "en/../de"}, "no language code"),
        ({"requests_per_second": 0}, "requests_per_second is 0"),
        ({"retry_policy": "none"}, ""),
    ],
)
def test_bad_settings_are_refused(server, tmp_path, settings, message):
    if settings.get("retry_policy"):
        with pytest.raises(UserError, match="attempts >= 1"):
            RetryPolicy(attempts=0)
        return
    with pytest.raises(UserError, match=message) as caught:
        cache = AnswerCache(tmp_path)
        from_conceptnet_api(["dog"], cache, **{"base_url": server.url, **QUICK, **settings})
    assert "pass@" not in str(caught.value) and server.requests == []


def test_an_unreachable_server_is_one_line(tmp_path):
    with loopback() as gone:
        url = gone.url
    settings = {**QUICK, "retry_policy": RetryPolicy(2, 0.001)}
    with pytest.raises(UserError, match=r"no answer from http://127.* in 2 tries, .*refused") as e:
        from_conceptnet_api(["dog"], AnswerCache(tmp_path), base_url=url, **settings)
    assert "\n" not in str(e.value) and list(tmp_path.iterdir()) == []
    with loopback() as server, pytest.raises(UserError, match="refuses: HTTP 404"):
        from_conceptnet_api(["dog"], AnswerCache(tmp_path), base_url=server.url + "/no", **settings)


def test_nothing_known_is_one_line(server, tmp_path, dump):
    for ask in (
        lambda: from_conceptnet_api(["zzz"], AnswerCache(tmp_path), base_url=server.url, **QUICK),
        lambda: from_conceptnet_dump(["zzz", "yyy"], dump),
        lambda: from_conceptnet_dump(["???"], dump),
    ):
        with pytest.raises(UserError, match="ConceptNet says nothing of the"):
            ask()


def test_damaged_dumps_are_told(tmp_path, dump, told):
    whole = dump.read_bytes()
    for name, content, message in [
        ("cut.gz", whole[: len(whole) // 2], "ends early"),
        ("bits.gz", whole[:100] + b"\0" * 40 + whole[140:], "damaged or ends early"),
        ("head.gz", b"\x1f\x8b" + b"x" * 50, "damaged"),
        ("empty.gz", gzip.compress(b""), "is empty"),
        ("other.csv", b"a,b,c\n1,2,3\n", "no dump of ConceptNet's assertions: .*1 columns"),
        ("columns.csv", b"a\tb\tc\td\te\n", "no dump"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            from_conceptnet_dump(["dog"], tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such dump"):
        from_conceptnet_dump(["dog"], tmp_path / "gone.gz")
    with pytest.raises(UserError, match="cannot read"):
        from_conceptnet_dump(["dog"], tmp_path)

    bad = ["\t\t\t\n", "/a/x\t/r/HasA\t/c/en/dog\t/c/en/x\t{\n", "half a li"]
    bad += ["/a/x\t/r/HasA\t/c/en/dog\t/c/en/y\t[]\n", "/a/z\t/r/HasA\t/c/en/dog\t/c/en/z\t{}\n"]
    lines = [*map(dump_line, EDGES), *bad]
    (tmp_path / "bad.csv").write_bytes("".join(lines).encode() + b"\n\xff\xfe\n")
    assert phrases(from_conceptnet_dump(["dog"], tmp_path / "bad.csv")) == DOG
    assert len(told) == 1 and "lines are no edges; left out" in told[0]


def test_progress_ends_at_the_whole(dump, server, tmp_path):
    steps: list[tuple[int, int]] = []
    from_conceptnet_dump(["dog"], dump, progress=lambda *step: steps.append(step))
    assert steps[-1] == (os.path.getsize(dump),) * 2
    steps.clear()
    cache = AnswerCache(tmp_path)
    from_conceptnet_api(
        ["dog", "fox"], cache, base_url=server.url, progress=lambda *s: steps.append(s), **QUICK
    )
    assert steps == [(1, 2), (2, 2)]
