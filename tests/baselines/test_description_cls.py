import numpy as np
import pytest
from concept_problem import accuracy, make_problem, unit

from jaxcbm.baselines.concept_classifier import class_logits
from jaxcbm.baselines.description_cls import (
    describing_concepts,
    description_cls,
    description_prompts,
    own_descriptions,
)
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate, Origin
from jaxcbm.errors import UserError


def test_the_score_is_the_mean_cosine_with_the_descriptions():
    problem = make_problem()
    describes = np.random.default_rng(0).uniform(size=(4, 12)) < 0.5
    model = description_cls(problem.concepts, problem.phrases, describes, scale=7.0)
    rows = problem.test.as_array()[:9]
    expected = [
        [7 * np.mean([row @ problem.concepts[d] for d in np.flatnonzero(own)]) for own in describes]
        for row in rows
    ]
    np.testing.assert_allclose(class_logits(model, rows), expected, rtol=1e-4, atol=1e-5)


def test_own_descriptions_classify_far_above_chance():
    problem = make_problem()
    model = description_cls(problem.concepts, problem.phrases, problem.describes)
    assert accuracy(class_logits(model, problem.test.as_array()), problem.test) > 0.7


def test_a_class_with_more_descriptions_has_no_advantage():
    problem = make_problem()
    once = np.eye(4, 12, dtype=bool)
    texts = np.concatenate([problem.concepts, problem.concepts[:1], problem.concepts[:1]])
    repeated = np.concatenate([once, np.eye(4, 2, dtype=bool) | [[True, True]] * 4], axis=1)
    repeated[1:, 12:] = False
    rows = problem.test.as_array()
    np.testing.assert_allclose(
        class_logits(description_cls(problem.concepts, problem.phrases, once), rows),
        class_logits(description_cls(texts, (*problem.phrases, "x", "y"), repeated), rows),
        atol=1e-6,
    )


def test_class_texts_find_their_own_concepts_in_spite_of_a_hub():
    problem = make_problem()
    hub = unit(problem.class_texts.sum(axis=0))[None, :]
    texts = np.concatenate([problem.concepts, hub])
    similarity = problem.class_texts @ texts.T
    assert np.argsort(-similarity, axis=1)[:, :3].ravel().tolist().count(12) == 4
    found = describing_concepts(problem.class_texts, texts, k=3)
    assert found.sum(axis=1).tolist() == [3] * 4
    assert not found[:, 12].any()
    assert (found[:, :12] & problem.describes).sum() >= 9


def test_sets_that_know_their_classes_give_each_its_own():
    origins = {"red breast": ("robin", "Linnet"), "blue crest": ("jay",), "feathers": ("",)}
    candidates = [
        Candidate(phrase, Origin("guide", class_name=name))
        for phrase, names in origins.items()
        for name in names
    ]
    concepts = ConceptSet.from_candidates(candidates)
    described = own_descriptions(concepts, ["Jay", "robin", "linnet"])
    assert described is not None
    assert described.tolist() == [[False, True, False], [True, False, False], [True, False, False]]
    assert own_descriptions(concepts, ["jay", "owl"]) is None
    assert own_descriptions(ConceptSet.from_phrases(origins), ["jay"]) is None


def test_each_class_has_a_prompt_for_each_of_its_descriptions():
    describes = np.array([[1, 0, 1], [0, 1, 1]])
    prompts, whose = description_prompts(["robin", "jay"], ["a", "b", "c"], describes)
    assert prompts == [
        "robin, which has a",
        "robin, which has c",
        "jay, which has b",
        "jay, which has c",
    ]
    assert whose.tolist() == [[True, True, False, False], [False, False, True, True]]


def test_mistakes_are_told():
    with pytest.raises(UserError, match="no concept describes class 1"):
        description_cls(np.eye(2), ["a", "b"], np.array([[1, 1], [0, 0]]))
    with pytest.raises(UserError, match="give as many of each"):
        description_cls(np.eye(2), ["a"], np.ones((1, 2)))
