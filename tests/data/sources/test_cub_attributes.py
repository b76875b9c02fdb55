"""CUB's attribute files, in their published form, become annotations of the right photographs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cub_mock import Photograph, prepare, write_folder
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.sources import class_names
from jaxcbm.data.sources.cub import (
    class_votes,
    majority,
    phrase_of,
    read_cub_attributes,
    with_attributes,
)
from jaxcbm.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NAN = np.nan

SPECIES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
# Two photographs of each species are for training and one is for test.
PHOTOGRAPHS = [
    Photograph(name, i, i < 2, Image.new("RGB", (4, 4), (3 * species + i, 0, 0)))
    for species, name in enumerate(SPECIES)
    for i in range(3)
]
ATTRIBUTES = ("has_bill_shape::curved_(up_or_down)", "has_wing_color::blue", "has_size::small")
# Image, attribute, present, certainty; what is not listed was never asked.
ANSWERS = [
    (1, 1, 1, 4), (1, 2, 0, 3), (1, 3, 1, 2),
    (2, 1, 1, 3), (2, 2, 0, 1), (2, 3, 0, 4),
    (3, 1, 0, 4), (3, 2, 1, 4), (3, 3, 0, 4),
    (4, 1, 0, 4), (4, 2, 1, 4), (4, 3, 0, 1),
    (5, 1, 1, 4), (5, 2, 1, 3), (5, 3, 0, 2),
]  # fmt: skip


@pytest.fixture
def cub(tmp_path) -> Path:
    """The folder as the archive leaves it: attributes.txt stands beside CUB_200_2011."""
    return write_folder(tmp_path / "unpacked", PHOTOGRAPHS, ATTRIBUTES, ANSWERS)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """caltech_birds2011 in TFDS's folder."""
    root = tmp_path_factory.mktemp("cub")
    prepare(root, PHOTOGRAPHS)
    return root


@pytest.fixture
def config(prepared, cub, monkeypatch) -> dict:
    two = "Black_footed_Albatross Laysan_Albatross"
    monkeypatch.setitem(class_names._LABELS, "jaxcbm_cub", two)
    return {
        "name": "tfds",
        "tfds_name": "jaxcbm_cub",
        "tfds_data_dir": str(prepared),
        "attributes": str(cub),
    }


def by_photograph(images) -> dict[int, list[float]]:
    """Annotations by the number of the photograph, which is its red value."""
    numbers = [images.source.load(i).getpixel((0, 0))[0] for i in range(len(images))]
    return dict(zip(numbers, images.annotations.tolist(), strict=True))


@pytest.mark.parametrize(
    ("certainty", "first", "second"),
    [(2, [1, 0, 1], [1, NAN, 0]), (3, [1, 0, NAN], [1, NAN, 0]), (4, [1, NAN, NAN], [NAN, NAN, 0])],
)
def test_answers_by_certainty(cub, certainty, first, second):
    values = read_cub_attributes(cub, minimum_certainty=certainty).values
    assert values.shape == (6, 3) and values.dtype == np.float32
    np.testing.assert_array_equal(values[0], np.float32(first))
    np.testing.assert_array_equal(values[1], np.float32(second))
    assert np.isnan(values[5]).all()


def test_phrases_and_rows(cub):
    attributes = read_cub_attributes(cub.parent)
    assert attributes.phrases == ("curved bill", "blue wing", "small bird")
    assert attributes.rows["002.Laysan_Albatross/Laysan_Albatross_0000_0.jpg"] == 3


@pytest.mark.parametrize(
    ("attribute", "phrase"),
    [
        ("has_tail_shape::fan-shaped_tail", "fan-shaped tail"),
        ("has_wing_shape::long-wings", "long wings"),
        ("has_shape::upland-ground-like", "upland-ground-like bird"),
        ("has_primary_color::grey", "grey bird"),
        ("has_upper_tail_color::grey", "grey upper tail"),
        ("has_bill_length::about_the_same_as_head", "bill about the same as head"),
        ("has_bill_shape::hooked_seabird", "hooked seabird bill"),
    ],
)
def test_attributes_as_a_person_says_them(attribute, phrase):
    assert phrase_of(attribute) == phrase


def test_annotations_reach_their_photographs(config):
    train, test, _ = load_dataset(DataConfig(**config))
    assert train.classes == ("black-footed albatross", "laysan albatross")
    assert train.annotation_phrases == test.annotation_phrases
    seen = by_photograph(train) | by_photograph(test)
    expected = [[1, 0, NAN], [1, NAN, 0], [0, 1, 0], [0, 1, NAN], [1, 1, NAN], [NAN] * 3]
    for number, values in enumerate(expected):
        np.testing.assert_array_equal(seen[number], values)


def test_votes_are_of_train_alone(config):
    """The test photograph of the first species says otherwise on all three, and is outvoted."""
    train, test, _ = load_dataset(DataConfig(**config, attribute_votes=True))
    for images in (train, test):
        rows = by_photograph(images)
        for number, values in rows.items():
            np.testing.assert_array_equal(values, [[1, 0, 0], [NAN, 1, NAN]][number // 3])


def test_names_told_by_the_records_are_compared(config, monkeypatch):
    monkeypatch.setitem(class_names._LABELS, "jaxcbm_cub", "Sooty_Albatross Laysan_Albatross")
    with pytest.raises(UserError, match="class 0 is 'black_footed_albatross' there, but 'sooty"):
        load_dataset(DataConfig(**config))


def test_other_data_has_no_such_attributes(config, picture_folder, cub):
    images = ImageSet.from_folder(picture_folder)
    with pytest.raises(UserError, match="is for the TFDS dataset caltech_birds2011"):
        with_attributes(images, read_cub_attributes(cub))


def test_a_photograph_that_the_files_do_not_have(config, cub):
    path = cub / "images.txt"
    path.write_text(path.read_text().replace("Laysan_Albatross_0002", "Laysan_Albatross_0009"))
    with pytest.raises(UserError, match=r"Laysan_Albatross_0002_2.jpg is not in images.txt"):
        load_dataset(DataConfig(**config))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("attributes/image_attribute_labels.txt", "1 1 1 4", "1 1 2 4", "line 1: no line of IMAGE"),
        ("attributes/image_attribute_labels.txt", "2 1 1 3", "2 1 1 7", "line 4: no line of IMAGE"),
        ("attributes/image_attribute_labels.txt", "3 1 0 4", "9 1 0 4", "line 7: no line of IMAGE"),
        ("attributes/image_attribute_labels.txt", "4 3 0 1 3.25", "4 3", "line 12: no line of IMA"),
        ("images.txt", "2 001", "001", "images.txt, line 2: no line of NUMBER TEXT"),
        ("../attributes.txt", "2 has", "two has", "line 2: no line of NUMBER TEXT: 'two has_wing"),
    ],
)
def test_files_in_another_form(cub, file, old, new, message):
    path = cub / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message) as caught:
        read_cub_attributes(cub)
    assert "\n" not in str(caught.value)


def test_what_is_missing(cub, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_cub_attributes(tmp_path / "gone")
    with pytest.raises(UserError, match=r"choose 2 .guessing., 3 .probably. or 4"):
        read_cub_attributes(cub, minimum_certainty=1)
    (cub / "attributes/image_attribute_labels.txt").unlink()
    with pytest.raises(UserError, match=r"no attributes/image_attribute_labels.txt in"):
        read_cub_attributes(cub)


answers = arrays.arrays(np.float32, (7, 3), elements=st.sampled_from([0.0, 1.0, NAN]))


@given(answers, st.permutations(range(7)))
def test_votes_do_not_depend_on_the_order_and_mirror_the_answers(values, order):
    labels = np.array([0, 0, 1, 1, 1, 2, -1], np.int32)
    votes = majority(values, labels, 4)
    np.testing.assert_array_equal(majority(values[order], labels[order], 4), votes)
    np.testing.assert_array_equal(majority(1 - values, labels, 4), 1 - votes)
    for row, label in ((0, 0), (2, 1), (5, 2)):
        members = np.where(labels == label)[0]
        same = np.repeat(values[row : row + 1], len(members), axis=0)
        values_of_one_mind = values.copy()
        values_of_one_mind[members] = same
        np.testing.assert_array_equal(majority(values_of_one_mind, labels, 4)[label], values[row])
    assert np.isnan(votes[3]).all()


def test_an_image_of_no_class_gets_no_votes(config):
    train, test, _ = load_dataset(DataConfig(**config))
    unlabelled = replace(test, labels=np.full(len(test), -1, np.int32))
    assert np.isnan(class_votes(train, unlabelled)[1].annotations).all()
