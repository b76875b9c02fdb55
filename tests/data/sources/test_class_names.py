"""Class names: readable, in the builder's order, and never silently in another."""

import warnings
from pathlib import Path

import pytest

from jaxcbm.data.sources import wordnet
from jaxcbm.data.sources.class_names import built_in, class_names, read_class_file, readable
from jaxcbm.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Lines as WordNet 3.0 has them: the licence after two spaces, then OFFSET FILE n COUNT WORDS ...
DATA_NOUN = (
    "  1 This software and database is being provided to you, the LICENSEE, by  \n"
    "01440764 05 n 02 tench 0 Tinca_tinca 0 002 @ 01439121 n 0000 #m 01440500 n 0000 | a fish  \n"
    "01443537 05 n 02 goldfish 0 Carassius_auratus 0 001 @ 01442450 n 0000 | small golden fish  \n"
    "02012849 05 n 01 crane 0 001 @ 02000954 n 0000 | large long-necked wading bird  \n"
    "03126707 06 n 01 crane 0 001 @ 03541269 n 0000 | lifts and moves heavy objects  \n"
    "00000010 03 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 the_last 0 000 | ten words  \n"
)


def builder_names(name: str, data_dir: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        return tfds.builder(name, data_dir=data_dir).info.features["label"].names


@pytest.fixture
def data_noun(tmp_path) -> Path:
    path = tmp_path / "data.noun"
    path.write_text(DATA_NOUN)
    return path


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("aquarium_fish", "aquarium fish"),
        ("200.Common_Yellowthroat", "common yellowthroat"),
        ("american_three_toed_woodpecker", "american three-toed woodpecker"),
        ("022.Chuck_will_Widow", "chuck-will's-widow"),
        ("balcony/interior", "interior balcony"),
        ("subway_station/platform", "subway station platform"),
        ("kindergarden_classroom", "kindergarten classroom"),
        ("owl", "owl"),
    ],
)
def test_labels_become_words(label, words):
    assert readable(label) == words


def test_a_name_that_was_made_readable_stays_so(tmp_path):
    """Names are compared with labels by making both readable."""
    places = class_names("places365_small", 365, builder_names("places365_small", tmp_path))
    for name in (*built_in("cifar100"), *built_in("caltech_birds2011"), *places):
        assert readable(name).casefold() == name.casefold()


@pytest.mark.parametrize(
    ("dataset", "count"), [("cifar10", 10), ("cifar100", 100), ("caltech_birds2011", 200)]
)
def test_built_in_names_fit_the_builder_that_has_only_placeholders(dataset, count, tmp_path):
    names = built_in(dataset)
    assert len(set(names)) == len(names) == len(builder_names(dataset, tmp_path)) == count
    assert not any(set(name) & set("_/0123456789") for name in names)
    assert class_names(f"{dataset}:3.*.*", count) == names


def test_places_are_named_by_their_builder(tmp_path):
    own = builder_names("places365_small", tmp_path)
    names = class_names("places365_small", 365, own)
    assert len(set(names)) == 365 and not any("_" in name or "/" in name for name in names)
    assert names[0] == "airfield" and names[8] == "outdoor apartment building"


def test_a_prepared_builder_is_compared_name_by_name():
    own = ["apple", "aquarium_fish", *(f"x{i}" for i in range(98))]
    with pytest.raises(UserError, match="class 2 is 'x0' there, but 'baby' in the list"):
        class_names("cifar100", 100, own)
    prepared = [name.replace(" ", "_") for name in built_in("cifar100")]
    assert class_names("cifar100", 100, prepared) == built_in("cifar100")


def test_the_users_names_go_first_but_not_in_another_order():
    own = ["airplane", "bird"]
    assert class_names("x", 2, own, ["a plane", "a bird"]) == ("a plane", "a bird")
    assert class_names("x", 2, own, ["Airplane", "bird"]) == ("Airplane", "bird")
    with pytest.raises(UserError, match="differ in order or in version"):
        class_names("x", 2, own, ["bird", "airplane"])
    with pytest.raises(UserError, match="has 2 classes, but 3 names given"):
        class_names("x", 2, own, ["a", "b", "c"])


def test_other_datasets_keep_their_own_names():
    assert class_names("flowers", 2, ["a_b", "C/d"]) == ("a_b", "C/d")


def test_a_builder_of_another_size_is_refused():
    with pytest.raises(UserError, match="has 11 classes here, not 10"):
        class_names("cifar10", 11)


def test_synsets_are_named_by_wordnet(data_noun):
    lines = read_class_file(data_noun)
    assert lines[0] == "n01440764 tench, Tinca tinca" and lines[-1].endswith(", the last")
    own = ["n01443537", "n02012849", "n03126707"]
    names = class_names("imagenet2012", 3, own, lines)
    assert names == ("goldfish", "crane bird", "construction crane")


def test_synsets_without_wordnet_are_refused(monkeypatch, data_noun):
    monkeypatch.setattr(wordnet, "PLACES", ())
    with pytest.raises(UserError, match=r"apt-get install wordnet-base, or name a file"):
        class_names("imagenet2012", 1, ["n01440764"])
    monkeypatch.setattr(wordnet, "PLACES", (data_noun,))
    assert class_names("imagenet2012", 1, ["n01440764"]) == ("tench",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["n01440764 tench"], "1 of 2 classes have no name .* n01443537 first"),
        (["n01440764 fish", "n01443537\tFish, x"], "2 classes are called 'fish'"),
        (["tench"], "has 2 classes, but 1 names given"),
    ],
)
def test_bad_synset_files(given, message):
    with pytest.raises(UserError, match=message):
        class_names("imagenet2012", 2, ["n01440764", "n01443537"], given)


def test_plain_names_for_synsets_are_taken_as_they_are():
    own = ["n01440764", "n01443537"]
    assert class_names("imagenet2012", 2, own, ["a tench", "a goldfish"])[1] == "a goldfish"


@pytest.mark.skipif(wordnet.find_data_noun() is None, reason="no WordNet on this machine")
def test_all_of_imagenet(tmp_path):
    names = class_names("imagenet2012", 1000, builder_names("imagenet2012", tmp_path))
    assert len({name.casefold() for name in names}) == 1000
    assert (names[0], names[134], names[999]) == ("tench", "crane bird", "toilet tissue")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "no such file of class names"),
        ("empty.txt", b"\n \n", "no class names in"),
        ("latin.txt", "Grün".encode("latin-1"), "line 1: not UTF-8"),
        ("data.noun", b"01440764 05 n zz tench\n", "is no WordNet data.noun: see line 1"),
    ],
)
def test_bad_class_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_class_file(tmp_path / name)


def test_class_files_are_tidied(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffan  owl \r\n\r\na wren".encode())
    assert read_class_file(tmp_path / "a.txt") == ("an owl", "a wren")
