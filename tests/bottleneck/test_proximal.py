"""Proximal operators minimise what they claim to minimise."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.bottleneck.proximal import soft_threshold

numbers = st.floats(-10, 10, width=32)


@given(x=numbers, threshold=st.floats(0, 5))
@settings(max_examples=30)
def test_soft_threshold_is_the_minimiser(x, threshold):
    best = float(soft_threshold(jnp.float32(x), threshold))

    def value(u):
        return 0.5 * (u - x) ** 2 + threshold * np.abs(u)

    others = best + np.linspace(-2, 2, 81)
    assert value(best) <= value(others).min() + 1e-4


def test_soft_threshold_zeros_are_exact_and_positive():
    x = jnp.array([-1.0, -0.3, -0.0, 0.3, 1.0])
    shrunk = np.asarray(soft_threshold(x, 0.3))
    assert (shrunk[1:4] == 0).all() and not np.signbit(shrunk[1:4]).any()
    np.testing.assert_allclose(shrunk[[0, 4]], [-0.7, 0.7], rtol=1e-6)


def test_threshold_takes_the_type_of_x():
    x = jnp.array([1.0, -1.0], jnp.bfloat16)
    assert soft_threshold(x, jnp.float32(0.5)).dtype == jnp.bfloat16
    np.testing.assert_array_equal(soft_threshold(x, 0.0), x)
