import jax
import jax.numpy as jnp
import numpy as np
from concept_problem import accuracy, make_problem, relabelled

from jaxcbm.baselines.concept_classifier import activations, class_logits
from jaxcbm.baselines.concept_discovery import concept_discovery
from jaxcbm.bottleneck.samplers import relaxed_mask

SETTINGS = {"learning_rate": 1e-2, "epochs": 60, "batch_size": 100}


def fit(problem, **changes):
    arguments = problem.train, problem.valid, problem.concepts, problem.phrases
    return concept_discovery(*arguments, **(SETTINGS | changes))


def active_share(model, part):
    return float(np.mean(part.as_array() @ model.gate_kernel + model.gate_bias > 0))


def test_gates_at_inference_are_the_sign_of_their_logits():
    problem = make_problem()
    model, rows = fit(problem, kl_weight=1e-2), problem.test.as_array()
    gates = rows @ model.gate_kernel + model.gate_bias
    values = rows @ model.concept_kernel + model.concept_bias
    found = activations(model, rows)
    assert 0.05 < np.mean(gates > 0) < 0.95
    np.testing.assert_array_equal(found[gates <= 0], 0)
    np.testing.assert_allclose(found[gates > 0], values[gates > 0], atol=1e-5)


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
