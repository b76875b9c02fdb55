import numpy as np
import pytest
from concept_problem import accuracy, make_problem, relabelled, unit

from jaxcbm.baselines.concept_classifier import activations, class_logits, with_sparse_path
from jaxcbm.baselines.label_free import cos_cubed, label_free_bottleneck
from jaxcbm.bottleneck.objectives.similarity import similarity
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError


def fitted(train, valid, concepts, phrases, **settings):
    bottleneck = label_free_bottleneck(train, valid, concepts, phrases, **settings)
    return with_sparse_path(bottleneck, train, valid)[0]


def test_cos_cubed_is_the_objective_per_concept():
    rng = np.random.default_rng(0)
    targets, values = (rng.normal(size=(50, 6)).astype(np.float32) + 20 for _ in range(2))
    each = cos_cubed(targets, values)
    assert each.shape == (6,)
    np.testing.assert_allclose(-each.mean(), similarity(targets, values, cubed=True), atol=1e-5)
    one = similarity(targets[:, 2:3], values[:, 2:3], cubed=True)
    np.testing.assert_allclose(-each[2], one, atol=1e-5)


def test_the_projection_learns_the_encoders_scores():
    problem = make_problem()
    model = label_free_bottleneck(problem.train, problem.valid, problem.concepts, problem.phrases)
    rows = problem.test.as_array()
    learned = cos_cubed(rows @ problem.concepts.T, activations(model, rows))
    assert model.phrases == problem.phrases
    assert learned.min() > 0.8
    values = activations(model, problem.train.as_array())
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)


def test_it_classifies_and_repeats_itself():
    problem = make_problem()
    arguments = problem.train, problem.valid, problem.concepts, problem.phrases
    model, again, other = (fitted(*arguments, seed=seed) for seed in (3, 3, 4))
    assert accuracy(class_logits(model, problem.test.as_array()), problem.test) > 0.8
    np.testing.assert_array_equal(model.concept_kernel, again.concept_kernel)
    np.testing.assert_array_equal(model.head, again.head)
    assert not np.array_equal(model.concept_kernel, other.concept_kernel)


def test_renaming_the_classes_renames_the_predictions():
    problem = make_problem()
    order = [2, 0, 3, 1]
    plain = fitted(problem.train, problem.valid, problem.concepts, problem.phrases)
    renamed = fitted(
        relabelled(problem.train, order),
        relabelled(problem.valid, order),
        problem.concepts,
        problem.phrases,
    )
    rows = problem.test.as_array()
    np.testing.assert_allclose(
        class_logits(renamed, rows)[:, order], class_logits(plain, rows), atol=0.1
    )


def test_concepts_the_backbone_cannot_express_are_removed():
    problem = make_problem()
    rng = np.random.default_rng(1)
    # The teacher sees one thing more than the backbone: pure noise, which one concept is about.
    teacher = tuple(
        np.concatenate([part.as_array(), rng.normal(size=(len(part), 1))], axis=1).astype("float32")
        for part in (problem.train, problem.valid)
    )
    padded = np.pad(problem.concepts, ((0, 1), (0, 1)))
    padded[12, 16] = 1
    phrases = (*problem.phrases, "unseen")
    model = label_free_bottleneck(problem.train, problem.valid, padded, phrases, teacher=teacher)
    assert model.phrases == problem.phrases
    kept = label_free_bottleneck(
        problem.train, problem.valid, padded, phrases, teacher=teacher, similarity_cutoff=-1
    )
    assert kept.phrases == phrases


def test_a_backbone_learns_what_another_encoder_says():
    """Features of one encoder, scores and texts of another, whose width is another too."""
    problem = make_problem(noise=0.1)
    seeing = np.random.default_rng(2).normal(size=(16, 24))

    def of_backbone(part):
        rows = unit(np.tanh(part.as_array() @ seeing))
        return Features.from_arrays(rows, part.labels, part.classes)

    train, valid, test = (of_backbone(part) for part in problem[:3])
    teacher = problem.train.as_array(), problem.valid.as_array()
    model = label_free_bottleneck(
        train, valid, problem.concepts, problem.phrases, teacher=teacher, similarity_cutoff=-1
    )
    assert model.concept_kernel.shape == (24, 12)
    values = activations(model, test.as_array())
    said = problem.test.as_array() @ problem.concepts.T
    assert cos_cubed(said, values).mean() > 0.7
    # Its own features are no substitute: their width is not that of the texts.
    with pytest.raises(ValueError):
        label_free_bottleneck(train, valid, problem.concepts, problem.phrases)
    classifier, _ = with_sparse_path(model, train, valid)
    assert accuracy(class_logits(classifier, test.as_array()), test) > 0.8


def test_concepts_that_no_image_shows_are_removed():
    problem = make_problem()
    against = -unit(problem.train.as_array().mean(axis=0))[None, :]
    texts, phrases = np.concatenate([problem.concepts, against]), (*problem.phrases, "absent")
    model = label_free_bottleneck(
        problem.train, problem.valid, texts, phrases, activation_cutoff=0.0
    )
    assert model.phrases == problem.phrases
    with pytest.raises(UserError, match="activation_cutoff leaves none of 13 concepts"):
        label_free_bottleneck(problem.train, problem.valid, texts, phrases, activation_cutoff=2.0)


def test_minibatches_find_a_projection_too():
    problem = make_problem()
    model = label_free_bottleneck(
        problem.train, problem.valid, problem.concepts, problem.phrases, batch_size=100
    )
    rows = problem.test.as_array()
    assert cos_cubed(rows @ problem.concepts.T, activations(model, rows)).mean() > 0.8
