import jax.numpy as jnp
import numpy as np
import pytest
from concept_problem import accuracy, make_problem, relabelled
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from jaxcbm.baselines.concept_classifier import activations, class_logits, with_sparse_path
from jaxcbm.baselines.vlg import grounded_bottleneck, weighted_cross_entropy
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.evaluation.metrics import concept_auc

# Steps so large and many that the convex problem is solved.
TO_THE_END = {"learning_rate": 0.05, "epochs": 400, "batch_size": 300}
FAST = {"learning_rate": 5e-3, "epochs": 20}


def annotated(problem, change):
    """The problem with annotations of its train images changed in place."""
    annotations = problem.train.annotations.copy()
    change(annotations)
    train = Features.from_arrays(
        problem.train.as_array(),
        problem.train.labels,
        problem.train.classes,
        annotations=annotations,
        annotation_phrases=problem.phrases,
    )
    return problem._replace(train=train)


def test_the_loss_is_scikit_learns():
    rng = np.random.default_rng(0)
    logits, present = rng.normal(size=(40, 3)), (rng.random((40, 3)) < 0.4).astype(float)
    present[rng.random((40, 3)) < 0.2] = np.nan
    weights = np.array([1.0, 3.0, 0.5])
    known = ~np.isnan(present)
    each = np.where(np.nan_to_num(present) > 0.5, weights, 1.0)[known]
    truth, p = present[known], 1 / (1 + np.exp(-logits[known]))
    expected = log_loss(truth, p, sample_weight=each, normalize=False) / known.sum()
    found = weighted_cross_entropy(
        *(jnp.asarray(x, jnp.float32) for x in (logits, present, weights))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("auto", [False, True])
def test_trained_to_the_end_it_is_a_logistic_regression_of_each_concept(auto):
    problem = make_problem()
    whole = problem._replace(valid=problem.train)  # the epoch is then chosen by the train loss
    found = grounded_bottleneck(
        whole.train, whole.valid, auto_weight=auto, pos_weight=2.0, weight_decay=1e-3, **TO_THE_END
    )
    rows, present = problem.train.as_array(), problem.train.annotations
    values = activations(found, rows)
    inputs = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    cells = np.sum(~np.isnan(present))
    for d in range(12):
        known = ~np.isnan(present[:, d])
        truth = present[known, d]
        weight = 2.0 * ((1 - truth).sum() / truth.sum() if auto else 1.0)
        # The decay stands beside a mean over all cells, scikit-learn's beside a sum; both reach
        # the bias.
        reference = LogisticRegression(
            C=1 / (1e-3 * cells), class_weight={1: weight, 0: 1}, tol=1e-8, solver="liblinear"
        )
        logits = reference.fit(inputs[known], truth).decision_function(inputs)
        expected = (logits - logits.mean()) / logits.std()
        np.testing.assert_allclose(values[:, d], expected, atol=0.03)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)


def test_it_learns_concepts_classifies_and_repeats_itself():
    problem = make_problem()
    one, again, other = (grounded_bottleneck(*problem[:2], seed=seed, **FAST) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.concept_kernel, again.concept_kernel)
    assert not np.array_equal(one.concept_kernel, other.concept_kernel)
    rows = problem.test.as_array()
    assert one.phrases == problem.phrases and not one.head.any()
    assert concept_auc(activations(one, rows), problem.test.annotations).mean() > 0.85
    model, _ = with_sparse_path(one, *problem[:2], intervened=0.75)
    assert accuracy(class_logits(model, rows), problem.test) > 0.8


def test_classes_play_no_part_in_the_layer():
    problem = make_problem()
    plain = grounded_bottleneck(*problem[:2], **FAST)
    renamed = [relabelled(part, [2, 0, 3, 1]) for part in problem[:2]]
    other = grounded_bottleneck(*renamed, **FAST)
    np.testing.assert_array_equal(plain.concept_kernel, other.concept_kernel)


def test_what_no_image_shows_is_left_out_and_unknown_cells_teach_nothing():
    def blank(annotations):
        annotations[:, 3] = 0
        annotations[:, 5] = np.nan

    found = grounded_bottleneck(*annotated(make_problem(), blank)[:2], **FAST)
    assert found.phrases == tuple(f"concept {d}" for d in range(12) if d not in (3, 5))
    assert np.isfinite(found.concept_kernel).all()


def test_it_needs_annotations():
    problem = make_problem()
    bare = Features.from_arrays(
        problem.train.as_array(), problem.train.labels, problem.train.classes
    )
    with pytest.raises(UserError, match="learns from annotated images"):
        grounded_bottleneck(bare, problem.valid)
    empty = annotated(problem, lambda annotations: annotations.fill(0))
    with pytest.raises(UserError, match="no annotation is present"):
        grounded_bottleneck(*empty[:2])
