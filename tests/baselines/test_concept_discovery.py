import jax
import jax.numpy as jnp
import numpy as np
from concept_problem import accuracy, make_problem, relabelled

from jaxcbm.baselines.concept_classifier import activations, class_logits
from jaxcbm.baselines.concept_discovery import _loss, concept_discovery
from jaxcbm.bottleneck.samplers import relaxed_mask
from jaxcbm.evaluation.calibration import negative_log_likelihood

SETTINGS = {"learning_rate": 1e-2, "epochs": 60, "batch_size": 100}


def fit(problem, **changes):
    arguments = problem.train, problem.valid, problem.concepts, problem.phrases
    return concept_discovery(*arguments, **(SETTINGS | changes))


def active_share(model, part):
    return float(np.mean(part.as_array() @ model.gate_kernel + model.gate_bias > 0))


def test_gates_at_inference_are_probabilities_and_shut_below_a_hundredth():
    problem = make_problem()
    model, rows = fit(problem), problem.test.as_array()
    model = model._replace(gate_bias=model.gate_bias - 3)
    gates = 1 / (1 + np.exp(-(rows @ model.gate_kernel + model.gate_bias)))
    values = rows @ model.concept_kernel + model.concept_bias
    found = activations(model, rows)
    assert 0.05 < np.mean(gates < 0.01) < 0.95
    np.testing.assert_array_equal(found[gates < 0.0099], 0)
    np.testing.assert_allclose(found[gates > 0.0101], (values * gates)[gates > 0.0101], atol=1e-5)


def test_the_epoch_is_chosen_by_what_the_model_will_say():
    """The loss on validation is the cross-entropy of the finished classifier."""
    problem = make_problem()
    model, rows = fit(problem), problem.valid.as_array()
    model = model._replace(gate_bias=model.gate_bias - 3)
    params = {
        "gate_kernel": model.gate_kernel,
        "gate_bias": model.gate_bias,
        "head_kernel": model.head.T,
        "head_bias": model.head_bias,
    }
    context = {
        "concept_kernel": model.concept_kernel,
        "concept_bias": model.concept_bias,
        "mean": np.zeros(16, np.float32),
        "inverse": np.ones(16, np.float32),
        "numbers": np.array([0.1, 1e-4, 1.0], np.float32),
    }
    found = _loss(params, (rows, problem.valid.labels), context, None)
    expected = negative_log_likelihood(class_logits(model, rows), problem.valid.labels)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_it_classifies_and_repeats_itself():
    problem = make_problem()
    model, again, other = (fit(problem, seed=seed) for seed in (3, 3, 4))
    assert accuracy(class_logits(model, problem.test.as_array()), problem.test) > 0.8
    np.testing.assert_array_equal(model.gate_kernel, again.gate_kernel)
    np.testing.assert_array_equal(model.head, again.head)
    assert not np.array_equal(model.gate_kernel, other.gate_kernel)


def test_a_heavier_prior_closes_gates():
    problem = make_problem()
    free, pressed = (fit(problem, kl_weight=weight, patience=0) for weight in (0.0, 1.0))
    assert active_share(pressed, problem.test) < 0.5 * active_share(free, problem.test)


def test_renaming_the_classes_keeps_the_accuracy():
    problem, order = make_problem(), [2, 3, 1, 0]
    renamed = problem._replace(
        train=relabelled(problem.train, order), valid=relabelled(problem.valid, order)
    )
    rows = problem.test.as_array()
    plain = accuracy(class_logits(fit(problem), rows), problem.test)
    other = accuracy(class_logits(fit(renamed), rows)[:, order], problem.test)
    assert abs(plain - other) < 0.06


def test_relaxed_masks_have_the_gates_probability_and_turn_hard_when_cold():
    gates = jnp.broadcast_to(jnp.array([-2.0, 0.0, 1.0]), (20000, 3))
    cold = np.asarray(relaxed_mask(gates, jax.random.key(0), 1e-3))
    warm = np.asarray(relaxed_mask(gates, jax.random.key(0), 2.0))
    np.testing.assert_allclose(cold.mean(axis=0), jax.nn.sigmoid(gates[0]), atol=0.015)
    assert np.mean((cold > 0.01) & (cold < 0.99)) < 0.01
    assert np.mean((warm > 0.01) & (warm < 0.99)) > 0.9
    # Temperature changes no sample's side.
    np.testing.assert_array_equal(cold > 0.5, warm > 0.5)
