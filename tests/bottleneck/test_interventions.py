"""Contributions add up to the decision; interventions change it as they say."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.interventions import contributions, intervene


def test_contributions_sum_to_the_logits():
    rng = np.random.default_rng(0)
    head = jnp.asarray(rng.normal(size=(3, 5)), jnp.float32)
    activations = jnp.asarray(rng.normal(size=5), jnp.float32)
    parts = contributions(head, activations)
    assert parts.shape == (3, 5)
    np.testing.assert_allclose(parts.sum(axis=1), head @ activations, rtol=1e-5)
    without = intervene(activations, 2, 0.0)
    change = head @ activations - head @ without
    np.testing.assert_allclose(parts[:, 2], change, rtol=1e-4, atol=1e-6)


def test_intervene_on_one_image_or_many():
    activations = jnp.arange(12.0).reshape(3, 4)
    one = intervene(activations[0], 1, 9.0)
    np.testing.assert_array_equal(one, [0, 9, 2, 3])
    indices = jnp.array([0, 3])
    shared = intervene(activations, indices, jnp.array([-1.0, -2.0]))
    np.testing.assert_array_equal(shared[:, indices], [[-1, -2]] * 3)
    np.testing.assert_array_equal(shared[:, 1:3], activations[:, 1:3])
    own = intervene(activations, indices, jnp.ones((3, 2)))
    np.testing.assert_array_equal(own[:, indices], np.ones((3, 2)))
    jitted = jax.jit(intervene)(activations, indices, 0.5)
    np.testing.assert_array_equal(jitted[:, indices], np.full((3, 2), 0.5))
