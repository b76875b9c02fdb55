"""Concept sets: what is kept, what is dropped and told, and what is refused."""

import errno
import json
import os

import pytest
from absl import logging
from hypothesis import given
from hypothesis import strategies as st

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.file import BUILT_IN
from jaxcbm.data.birds.species import PHRASES
from jaxcbm.errors import UserError

# Words as people write them, in several scripts, with odd spaces and case.
phrase_lists = st.lists(
    st.text(alphabet="abAB éßЖ鳥#'-", max_size=8).filter(lambda text: bool(text.strip())),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *parts: told.append(text % parts))
    return told


def test_a_text_file_is_tidied_and_told_once(tmp_path, warnings):
    path = tmp_path / "a.txt"
    path.write_text("# birds\nred crown\n\n  Red   CROWN \nhooked\tbill\n  # more\n \nred crown\n")
    concepts = ConceptSet.from_file(path)
    assert concepts.phrases == ("red crown", "hooked bill")
    assert concepts.provenance["dropped"] == {"duplicates": 2, "blank": 2}
    assert concepts.provenance["source"] == str(path)
    assert warnings == [f"{path}: dropped 2 duplicate and 2 blank phrases"]


def test_a_clean_file_says_nothing(tmp_path, warnings):
    path = tmp_path / "a.txt"
    path.write_text("# a comment is no fault\nred crown\nhooked bill\n")
    assert "dropped" not in ConceptSet.from_file(path).provenance
    assert warnings == []


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_every_system(tmp_path, ending, mark):
    path = tmp_path / "a.txt"
    path.write_bytes((mark + f"red crown{ending}hooked bill{ending}").encode())
    assert ConceptSet.from_file(path).phrases == ("red crown", "hooked bill")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "no concept phrases in .*a.txt"),
        ("a.txt", b"# only\n\n", "no concept phrases in .*a.txt"),
        ("a.txt", "Grün".encode("latin-1"), "line 1: not UTF-8"),
        ("a.txt", "red crown".encode("utf-16"), "not UTF-8"),
        ("a.txt", b"red crown\nhooked\x00bill\n", r"line 2 of .*a\.txt holds a control character"),
        ("a.txt", b"# x\nred\x1b[31m crown\n", r"line 2 of .*a\.txt holds a control character"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b"[" * 100_000, "not JSON"),
        ("a.json", b"3", "must hold a list of phrases"),
        ("a.json", b'{"names": ["a"]}', "must hold a list of phrases"),
        ("a.json", b'["a", 3]', "phrase 2 of .*a.json is no text: 3"),
        ("a.json", b'["a\\nb"]', "control character"),
        ("a.json", b'["\\ud800"]', "control character"),
        ("a.json", b"[]", "no concept phrases"),
        (
            "a.csv",
            b"red crown",
            "a .txt or .json file, a list of phrases, or one of birds, cifar10",
        ),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        ConceptSet.from_file(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*gone\.txt"):
        ConceptSet.from_file(tmp_path / "gone.txt")


def test_a_folder_is_no_concept_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*a\.txt"):
        ConceptSet.from_file(tmp_path / "a.txt")


@given(phrase_lists)
def test_tidying_again_changes_nothing(phrases):
    once = ConceptSet.from_phrases(phrases)
    again = ConceptSet.from_phrases(once.phrases, once.provenance)
    assert again == once and again.content_hash == once.content_hash
    assert again.provenance == once.provenance
    assert len({phrase.casefold() for phrase in once.phrases}) == len(once) >= 1


@given(phrase_lists, st.sampled_from([".json", ".txt"]))
def test_what_is_saved_is_read_back(tmp_path_factory, phrases, ending):
    concepts = ConceptSet.from_phrases(phrases, {"by": "hand", "year": 2024})
    path = tmp_path_factory.mktemp("sets") / f"a{ending}"
    if ending == ".txt" and any(phrase.startswith("#") for phrase in concepts.phrases):
        with pytest.raises(UserError, match=r"save as \.json"):
            concepts.save(path)
        return
    concepts.save(path)
    again = ConceptSet.from_file(path)
    assert again.phrases == concepts.phrases and again.content_hash == concepts.content_hash
    if ending == ".json":
        assert again.provenance == concepts.provenance
    assert os.listdir(path.parent) == [path.name]


def test_the_hash_is_of_the_phrases_in_order():
    """Stored models compare it: if it moves, every workdir becomes foreign. Do not let it move."""
    concepts = ConceptSet.from_phrases(["red crown", "grüner Bauch"], {"by": "hand"})
    assert concepts.content_hash == (
        "6477e4378a11014fac824629c97b455cf0cef2d5c6a54418340259132b2c65a3"
    )
    assert concepts == ConceptSet.from_phrases(["red crown", "grüner Bauch"])
    reordered = ConceptSet.from_phrases(["grüner Bauch", "red crown"])
    assert reordered.content_hash != concepts.content_hash
    joined = ConceptSet.from_phrases(["red crown grüner Bauch"])
    assert joined.content_hash != concepts.content_hash


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    ConceptSet.from_phrases(["red crown"]).save(path)
    before = path.read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space left"):
        ConceptSet.from_phrases(["hooked bill"]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.txt or \.json"):
        ConceptSet.from_phrases(["red crown"]).save(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_sets_are_tidy(name, warnings):
    concepts = ConceptSet.from_file(name)
    assert len(concepts) >= 50
    assert warnings == [] and concepts.provenance == {
        "source": f"built-in {name}",
        "author": "written for jaxcbm",
        "licence": "Apache-2.0",
    }
    assert ConceptSet.from_file(f"{name}.txt") == concepts


def test_the_birds_set_is_what_the_painter_can_paint():
    assert ConceptSet.from_file("birds").phrases == PHRASES


def test_a_file_of_the_users_own_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds.txt").write_text("my own bird\n")
    (tmp_path / "birds").mkdir()
    assert ConceptSet.from_file("birds.txt").phrases == ("my own bird",)
    assert ConceptSet.from_file("birds").phrases == PHRASES


def test_json_lists_are_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(["red crown", "hooked bill"]))
    assert ConceptSet.from_file(path).provenance == {"source": str(path)}
