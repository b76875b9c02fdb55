"""Where phrases come from and what filters did stay with a set: on disk and compared."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.diff import diff
from jaxcbm.concepts.filters.log import Dropped, FilterRun
from jaxcbm.concepts.provenance import Candidate, Origin
from jaxcbm.errors import UserError

GRAPH = Origin("ConceptNet", "/a/1", "dog", time="2024-01-01T00:00:00Z", licence="CC-BY-SA-4.0")
MODEL = Origin("language model", "what?", "dog", "tiny-1", 3, "2024-01-02T00:00:00Z", weight=2.5)
words = st.lists(st.text(alphabet="abAB éЖ鳥'-", max_size=6), max_size=10)


def a_set() -> ConceptSet:
    given_ = [
        Candidate("tail", GRAPH),
        Candidate("Wet  nose", MODEL),
        Candidate("TAIL", MODEL),
        Candidate("thing", MODEL),
        Candidate("a\x1b[31mb", MODEL),
        Candidate("", GRAPH),
        Candidate("x" * 10_000, GRAPH),
    ]
    concepts = ConceptSet.from_candidates(given_, {"classes": ["dog"]})
    return concepts.without({"thing": "mean score 0.1"}, "not visible", {"cut_off": 0.2})


def test_candidates_are_tidied_and_every_drop_has_a_reason():
    concepts = a_set()
    assert concepts.phrases == ("tail", "Wet nose")
    assert concepts.origins == {"tail": (GRAPH, MODEL), "Wet nose": (MODEL,)}
    tidy, seen = concepts.filters
    assert tidy == FilterRun(
        "tidy",
        {"max_characters": 200},
        3,
        (
            Dropped("a\\x1b[31mb", "holds a control character"),
            Dropped("", "blank"),
            Dropped("x" * 77 + "...", "10,000 characters"),
        ),
    )
    assert seen == FilterRun(
        "not visible", {"cut_off": 0.2}, 2, (Dropped("thing", "mean score 0.1"),)
    )


def test_decomposed_letters_are_the_composed_ones():
    both = [Candidate("gru\u0308n", GRAPH), Candidate("gr\u00fcn", MODEL)]
    assert ConceptSet.from_candidates(both).origins == {"gr\u00fcn": (GRAPH, MODEL)}


def test_everything_is_read_back(tmp_path):
    concepts = a_set()
    concepts.save(tmp_path / "a.json")
    again = ConceptSet.from_file(tmp_path / "a.json")
    assert again == concepts and again.content_hash == concepts.content_hash
    assert (again.origins, again.filters) == (concepts.origins, concepts.filters)
    assert again.provenance == {"classes": ["dog"]}
    again.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_set_without_records_is_saved_as_ever(tmp_path):
    ConceptSet.from_phrases(["tail"], {"by": "hand"}).save(tmp_path / "a.json")
    saved = json.loads((tmp_path / "a.json").read_text())
    assert saved == {"phrases": ["tail"], "provenance": {"by": "hand"}}


def test_the_hash_does_not_know_the_records_or_the_machine(tmp_path):
    concepts = a_set()
    bare = ConceptSet.from_phrases(concepts.phrases)
    assert concepts.content_hash == bare.content_hash
    code = (
        "from jaxcbm.concepts.concept_set import ConceptSet;"
        "print(ConceptSet.from_phrases(['tail', 'Wet nose', '\\xe9\\u9ce5']).content_hash)"
    )
    told = {
        subprocess.run(
            [sys.executable, *mode, "-c", code],
            env={"PYTHONHASHSEED": seed, "LC_ALL": "C", "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed, mode in (("1", []), ("2", ["-X", "utf8=0"]))
    }
    assert told == {ConceptSet.from_phrases(["tail", "Wet nose", "é鳥"]).content_hash}
    assert told == {"27a8eee38f7b7dbe5fe65f518fc0b5427d068dc4655467485dda7b101ed718f2"}


def test_a_filter_that_drops_nothing_is_logged():
    run = ConceptSet.from_phrases(["tail"]).without({}, "length", {"max_characters": 30}).filters
    assert run == (FilterRun("length", {"max_characters": 30}, 1, ()),)


def test_no_filter_drops_everything_silently():
    concepts = ConceptSet.from_phrases(["tail", "fur"])
    with pytest.raises(UserError, match="cover would drop all 2 phrases, 'tail' because no image"):
        concepts.without({"tail": "no image", "fur": "no"}, "cover", {"k": 1})
    with pytest.raises(ValueError, match="not in the set: 'paw'"):
        concepts.without({"paw": "no"}, "cover", {})


def test_sources_that_give_nothing_usable():
    with pytest.raises(UserError, match=r"no usable phrase; the first of 1, '\\x00', holds a c"):
        ConceptSet.from_candidates([Candidate("\0", GRAPH)])
    with pytest.raises(UserError, match=r"no usable phrase$"):
        ConceptSet.from_candidates([])


@pytest.mark.parametrize(
    "records",
    [
        {"origins": 3},
        {"origins": [{"source": "a", "colour": "red"}]},
        {"origins": [{"source": 3}]},
        {"origins": [{"source": "a", "seed": True}]},
        {"origins": [{}]},
        {"origins": [{"source": "a"}], "origins_of": {"tail": [1]}},
        {"origins": [{"source": "a"}], "origins_of": {"tail": [-1]}},
        {"origins": [{"source": "a"}], "origins_of": {"tail": ["0"]}},
        {"origins_of": []},
        {"filters": 3},
        {"filters": [{"name": "length"}]},
        {"filters": [{"name": "a", "settings": {}, "kept": "many", "dropped": []}]},
    ],
)
def test_broken_records_are_refused_in_one_line(tmp_path, records):
    (tmp_path / "a.json").write_text(json.dumps({"phrases": ["tail"], **records}))
    with pytest.raises(UserError, match=r"a\.json: \"?(origins|filters)") as caught:
        ConceptSet.from_file(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_records_of_phrases_that_are_gone_are_left_out(tmp_path):
    value = {"phrases": ["tail"], "origins": [{"source": "a"}], "origins_of": {"fur": [0]}}
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert ConceptSet.from_file(tmp_path / "a.json").origins == {}


@given(words, words)
def test_diff_tells_what_was_added(a, b):
    before, after = ConceptSet.from_phrases([*a, "tail"]), ConceptSet.from_phrases([*a, "tail", *b])
    change = before.diff(after)
    assert change.removed == () and not change.reordered
    assert (*change.kept, *change.added) == after.phrases


def test_diff_says_why_phrases_went():
    before = ConceptSet.from_phrases(["tail", "thing", "fur"])
    kept = before.without({"thing": "not seen"}, "visible", {})
    after = replace(kept, phrases=(*kept.phrases, "paw"))
    change = before.diff(after)
    assert (change.added, change.removed, change.kept) == (("paw",), ("thing",), ("tail", "fur"))
    assert change.reasons == {"thing": "visible: not seen"} and not change.reordered
    assert after.diff(before).reasons == {}
    assert diff(["a", "b"], ["B", "a"]).reordered
