import numpy as np
import pytest

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.file import BUILT_IN
from jaxcbm.errors import UserError
from jaxcbm.evaluation.random_control import (
    KINDS,
    random_concepts,
    unexplained_accuracy,
)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("kind", KINDS)
def test_phrases_are_as_many_and_as_long_and_share_no_word(name, kind):
    real = ConceptSet.from_file(name)
    drawn = random_concepts(real, kind=kind)
    assert len(drawn) == len(real)
    words = {word for phrase in real.phrases for word in phrase.lower().split()}
    assert all(words.isdisjoint(phrase.split()) for phrase in drawn.phrases)
    # There are few words of many letters: where they run out, a phrase has one word more.
    counts = np.array([[len(phrase.split()) for phrase in x.phrases] for x in (drawn, real)])
    assert np.mean(counts[0] == counts[1]) > 0.97
    letters = np.array([[len(phrase) for phrase in x.phrases] for x in (drawn, real)])
    assert letters[0].mean() == pytest.approx(letters[1].mean(), rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind):
    real = ConceptSet.from_file("birds")
    one, same, other = (random_concepts(real, kind=kind, seed=seed) for seed in (0, 0, 1))
    assert one == same and one != other
    assert one.content_hash == same.content_hash != other.content_hash
    assert one.provenance["source"] == f"random {kind}" and other.provenance["seed"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_more_short_phrases_than_short_words(kind):
    real = ConceptSet.from_phrases([f"{i:04d}" for i in range(1500)])
    drawn = random_concepts(real, kind=kind)
    assert len(set(drawn.phrases)) == len(real)
    assert max(len(phrase.split()) for phrase in drawn.phrases) <= 3


def test_unexplained_accuracy_by_hand():
    assert unexplained_accuracy(0.8, 0.4, chance=0.2) == pytest.approx(1 / 3)
    assert unexplained_accuracy(0.5, 0.6, chance=0.1) > 1
    assert np.isnan(unexplained_accuracy(0.2, 0.2, chance=0.2))


def test_an_unknown_kind_is_named():
    with pytest.raises(UserError, match=r"'latin'.*nonsense, words"):
        random_concepts(ConceptSet.from_file("birds"), kind="latin")
