"""Phrases from tables and files: in words, each with its origin, refused in one line."""

import pytest
from absl import logging

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate, Origin
from jaxcbm.concepts.sources.attribute_table import from_attribute_table, from_painted_birds
from jaxcbm.concepts.sources.plain_file import from_concept_file, from_vocabulary
from jaxcbm.data.birds.species import PHRASES, all_species
from jaxcbm.errors import UserError

TABLE = """1 has_bill_shape::curved_(up_or_down)
2 has_bill_shape::hooked
7 has_bill_shape::hooked_seabird
10 has_wing_color::blue
150 has_wing_pattern::solid
151 has_wing_shape::solid
236 has_size::small_(5_-_9_in)
"""


def phrases(candidates) -> list[str]:
    return [candidate.phrase for candidate in candidates]


def test_attributes_become_words(tmp_path):
    path = tmp_path / "attributes.txt"
    path.write_text(TABLE)
    found = from_attribute_table(["wren"], path, licence="CC0-1.0")
    assert phrases(found) == [
        "curved bill",
        "hooked bill",
        "hooked seabird bill",
        "blue wing",
        "solid wing pattern",
        "solid wing shape",
        "small bird",
    ]
    first = found[0].origin
    assert (first.source, first.query, first.licence) == (
        "attribute table attributes.txt",
        "has_bill_shape::curved_(up_or_down)",
        "CC0-1.0",
    )
    bare = tmp_path / "bare.txt"
    bare.write_text("\n".join(line.split()[1] for line in TABLE.splitlines()))
    assert phrases(from_attribute_table(["wren"], bare)) == phrases(found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no attributes in"),
        (b"1 has_bill_shape::hooked\n2 hooked bill\n", "line 2: no line of NUMBER GROUP::VALUE"),
        (b"1 has_bill_shape::\n", "line 1: no line"),
        (b"1 has_bill::gr\xfcn\n", "line 1: not UTF-8"),
    ],
)
def test_other_tables_are_refused(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        from_attribute_table(["wren"], tmp_path / "a.txt")


def test_the_painted_birds_say_what_they_look_like(monkeypatch):
    names = [species.name for species in all_species()]
    found = from_painted_birds(names)
    assert len(found) == 14 * 48 and set(phrases(found)) <= set(PHRASES)
    assert {c.origin.class_name for c in found} == set(names)
    told: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *parts: told.append(text % parts))
    assert from_painted_birds([names[3], "ostrich"])[0].origin.class_name == names[3]
    assert told == ["1 classes are no species of the built-in birds"]
    with pytest.raises(UserError, match="'ostrich' is no species of the built-in birds"):
        from_painted_birds(["ostrich"])


def test_a_concept_file_keeps_the_origins_it_holds(tmp_path):
    origin = Origin("ConceptNet", "/a/1", "wren")
    saved = ConceptSet.from_candidates([Candidate("tail", origin)])
    saved.save(tmp_path / "a.json")
    assert from_concept_file(["wren"], tmp_path / "a.json") == [Candidate("tail", origin)]
    (tmp_path / "a.txt").write_text("tail\nbill\n")
    (first, _) = from_concept_file(["wren"], tmp_path / "a.txt", licence="MIT")
    assert (first.origin.source, first.origin.licence) == (str(tmp_path / "a.txt"), "MIT")
    built_in = from_concept_file(["wren"], "birds")
    assert phrases(built_in) == list(PHRASES)
    assert {candidate.origin.licence for candidate in built_in} == {"Apache-2.0"}


def test_a_vocabulary_is_read_from_its_top(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# counted\ntail\t900\n\nred bill\t30\nÉtang\n", encoding="utf-8-sig")
    assert phrases(from_vocabulary(["wren"], path)) == ["tail", "red bill", "Étang"]
    assert phrases(from_vocabulary(["wren"], path, limit=2)) == ["tail", "red bill"]
    with pytest.raises(UserError, match="limit is 0"):
        from_vocabulary(["wren"], path, limit=0)
    path.write_text("# nothing\n")
    with pytest.raises(UserError, match="no words in"):
        from_vocabulary(["wren"], path)


@pytest.mark.parametrize("read", [from_attribute_table, from_vocabulary, from_concept_file])
def test_files_that_are_not_there(tmp_path, read):
    with pytest.raises(UserError, match=r"no such (concept )?file: .*gone\.txt"):
        read(["wren"], tmp_path / "gone.txt")
    with pytest.raises(UserError, match="no classes"):
        read([], tmp_path / "gone.txt")


def test_sources_join_into_one_set(tmp_path):
    (tmp_path / "a.txt").write_text("Red crown\nlong legs\nantlers\n")
    given = from_painted_birds([all_species()[0].name]) + from_concept_file(
        ["wren"], tmp_path / "a.txt"
    )
    concepts = ConceptSet.from_candidates(given)
    assert "antlers" in concepts.phrases and len(set(concepts.phrases)) == len(concepts)
    assert set(concepts.origins) == set(concepts.phrases)
