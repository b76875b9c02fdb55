import numpy as np
import optax
import pytest
from concept_problem import accuracy, make_problem, relabelled

from jaxcbm.baselines.concept_classifier import activations, class_logits, with_sparse_path
from jaxcbm.baselines.post_hoc import (
    learned_bottleneck,
    text_bottleneck,
    with_residual,
)
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.evaluation.metrics import concept_auc


def fitted(train, valid, concepts):
    bottleneck = text_bottleneck(concepts, [f"concept {d}" for d in range(12)], 4)
    return with_sparse_path(bottleneck, train, valid)[0]


def test_learned_vectors_rank_images_by_their_concept():
    problem = make_problem()
    bank = learned_bottleneck(problem.train, problem.valid)
    np.testing.assert_allclose(np.linalg.norm(bank.concept_kernel, axis=0), 1, atol=1e-5)
    auc = concept_auc(activations(bank, problem.test.as_array()), problem.test.annotations)
    assert auc.mean() > 0.85


def test_annotations_that_never_vary_are_left_out():
    problem = make_problem()
    annotations = problem.train.annotations.copy()
    annotations[:, 3] = 1
    annotations[:, 5] = np.nan
    train = Features.from_arrays(
        problem.train.as_array(),
        problem.train.labels,
        problem.train.classes,
        annotations=annotations,
        annotation_phrases=problem.phrases,
    )
    bank = learned_bottleneck(train, problem.valid)
    assert bank.phrases == tuple(f"concept {d}" for d in range(12) if d not in (3, 5))
    assert np.isfinite(bank.concept_kernel).all()


@pytest.mark.parametrize("learned", [False, True])
def test_it_classifies(learned):
    problem = make_problem()
    bottleneck = (
        learned_bottleneck(problem.train, problem.valid)
        if learned
        else text_bottleneck(problem.concepts, problem.phrases, 4)
    )
    model, _ = with_sparse_path(bottleneck, problem.train, problem.valid)
    assert accuracy(class_logits(model, problem.test.as_array()), problem.test) > 0.8


def test_renaming_the_classes_renames_the_predictions():
    problem, order = make_problem(), [3, 2, 0, 1]
    plain = fitted(problem.train, problem.valid, problem.concepts)
    renamed = fitted(
        relabelled(problem.train, order), relabelled(problem.valid, order), problem.concepts
    )
    rows = problem.test.as_array()
    np.testing.assert_allclose(
        class_logits(renamed, rows)[:, order], class_logits(plain, rows), atol=0.1
    )


def test_the_residual_never_hurts_on_train_nor_on_validation():
    problem = make_problem()
    # Two concepts cannot tell four classes apart: there is something left to explain.
    model = fitted(problem.train, problem.valid, problem.concepts)
    poor = model._replace(head=np.where(np.arange(12) < 2, model.head, 0))
    hybrid = with_residual(poor, problem.train, problem.valid)

    def loss(model, part):
        logits = class_logits(model, part.as_array())
        return float(
            optax.losses.softmax_cross_entropy_with_integer_labels(logits, part.labels).mean()
        )

    def top1(model, part):
        return accuracy(class_logits(model, part.as_array()), part)

    assert loss(hybrid, problem.train) < loss(poor, problem.train)
    assert top1(hybrid, problem.valid) > top1(poor, problem.valid)
    assert top1(hybrid, problem.test) > top1(poor, problem.test) + 0.1
    np.testing.assert_array_equal(hybrid.head, poor.head)
    rows = problem.test.as_array()
    np.testing.assert_array_equal(activations(hybrid, rows), activations(poor, rows))


def test_a_residual_that_does_not_help_stays_zero():
    problem = make_problem()
    model = fitted(problem.train, problem.valid, problem.concepts)
    rows = problem.valid.as_array()
    predicted = np.argmax(class_logits(model, rows), axis=1)
    valid = Features.from_arrays(rows, predicted, problem.valid.classes)
    hybrid = with_residual(model, problem.train, valid)
    assert not hybrid.residual_kernel.any()
    np.testing.assert_array_equal(hybrid.head_bias, model.head_bias)


def test_text_projections_are_cosines():
    problem = make_problem()
    bank = text_bottleneck(problem.concepts, problem.phrases, 4)
    rows = problem.test.as_array()
    np.testing.assert_allclose(activations(bank, rows), rows @ problem.concepts.T, atol=1e-6)


def test_learned_vectors_need_annotations():
    problem = make_problem()
    bare = Features.from_arrays(
        problem.train.as_array(), problem.train.labels, problem.train.classes
    )
    with pytest.raises(UserError, match="need annotated images"):
        learned_bottleneck(bare, problem.valid)
