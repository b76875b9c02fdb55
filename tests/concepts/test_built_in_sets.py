"""The concept sets that come with the library: short, different, and never a class's own name."""

import re
import warnings

import pytest

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.file import BUILT_IN
from jaxcbm.data.birds.birds import load_birds
from jaxcbm.data.sources import wordnet
from jaxcbm.data.sources.class_names import built_in, class_names
from jaxcbm.data.sources.fashion_mnist import CLASSES

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SIZES = {"cifar100": 282, "cub": 282, "imagenet": 585, "places365": 403}


def classes_of(name: str, data_dir) -> tuple[str, ...]:
    if name == "birds":
        return load_birds("test", images_per_class=1).classes
    if name == "fashion_mnist":
        return CLASSES
    if name in ("cifar10", "cifar100"):
        return built_in(name)
    if name == "cub":
        return built_in("caltech_birds2011")
    if name == "imagenet" and wordnet.find_data_noun() is None:
        pytest.skip("no WordNet on this machine")
    dataset = {"imagenet": "imagenet2012", "places365": "places365_small"}.get(name, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        own = tfds.builder(dataset, data_dir=data_dir).info.features["label"].names
    return class_names(dataset, len(own), own)


def words(text: str) -> str:
    return " " + re.sub(r"[^a-z0-9']+", " ", text.lower()).strip() + " "


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_phrase_says_the_name_of_a_class(name, tmp_path):
    phrases = ConceptSet.from_file(name).phrases
    said = {
        (phrase, label)
        for label in classes_of(name, tmp_path)
        for phrase in phrases
        if words(label) in words(phrase)
    }
    assert not said


@pytest.mark.parametrize("name", SIZES)
def test_phrases_are_short_different_words(name):
    phrases = ConceptSet.from_file(name).phrases
    assert len(phrases) == SIZES[name]
    # "a red bill" and "red bill" would be one concept twice.
    bare = [re.sub(r"^ (a|an|the) ", " ", words(phrase)) for phrase in phrases]
    assert len(set(bare)) == len(bare)
    assert max(map(len, phrases)) <= 30
    assert all(re.fullmatch(r"[a-z][a-z ,'-]*[a-z]", phrase) for phrase in phrases)


def test_the_class_name_check_sees_whole_words_only():
    assert words("crane bird") in words("A crane-bird, flying")
    assert words("ant") not in words("elephant")
