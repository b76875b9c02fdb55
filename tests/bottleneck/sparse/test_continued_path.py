"""A path that goes on from an old one: certified whatever it starts from, and with weights held."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck.sparse.continued_path import continue_path
from jaxcbm.bottleneck.sparse.path import elastic_net_path

IMAGES, CONCEPTS, CLASSES = 150, 8, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = (np.arange(IMAGES) % CLASSES).astype(np.int32)
    centres = rng.normal(size=(CLASSES, CONCEPTS))
    noise = rng.normal(size=(IMAGES, CONCEPTS)) + rng.normal(size=(IMAGES, 1))
    return (centres[labels] + noise).astype(np.float32), labels


@pytest.fixture(scope="module")
def path(data):
    return elastic_net_path(*data, CLASSES, path_length=5, lambda_ratio=1e-2, tolerance=1e-5)


def how(tolerance, l1_ratio=0.99):
    return {"l1_ratio": l1_ratio, "tolerance": tolerance, "max_iterations": 5000}


def test_a_solved_path_is_left_alone_and_any_start_ends_there(data, path):
    again = continue_path(*data, *path[:3], **how(1e-4))
    assert again.iterations.tolist() == [0] * 5
    np.testing.assert_array_equal(again.weights, path.weights)
    far = jnp.asarray(np.random.default_rng(1).normal(size=path.weights.shape), jnp.float32)
    found = continue_path(*data, path.lambdas, far, path.biases, **how(1e-5))
    assert (found.certificate <= 1e-5).all() and found.iterations.min() > 0
    np.testing.assert_allclose(found.objective, path.objective, rtol=3e-5)
    np.testing.assert_array_equal(found.nec[0], 0.0)


@pytest.mark.parametrize("l1_ratio", [0.99, 1.0])
def test_held_weights_stay_and_the_certificate_is_of_the_problem_they_leave(data, path, l1_ratio):
    held = np.zeros((CLASSES, CONCEPTS), bool)
    held[0, 1] = held[2, 5] = True
    start = np.where(held, 0.8, np.asarray(path.weights)).astype(np.float32)
    start[:, 2, 5] = 0.0
    arguments = (*data, path.lambdas, start, path.biases)
    best = continue_path(*arguments, held_KxD=held, **how(1e-5, l1_ratio))
    rough = continue_path(*arguments, held_KxD=held, **how(3e-2, l1_ratio))
    for found, tolerance in ((best, 1e-5), (rough, 3e-2)):
        np.testing.assert_array_equal(found.weights[:, held], start[:, held])
        assert (found.certificate <= tolerance).all() and (found.certificate >= 0).all()
    excess = np.asarray((rough.objective - best.objective) / rough.objective)
    assert (excess <= np.asarray(rough.certificate) + 1e-5).all() and excess.max() > 1e-4
    # Holding costs something, and not more than letting the others be as they were.
    free = continue_path(*arguments, **how(1e-5, l1_ratio))
    assert (np.asarray(best.objective) > np.asarray(free.objective) * (1 + 1e-4)).all()
    untouched = continue_path(*arguments, held_KxD=np.ones_like(held), **how(1e-5, l1_ratio))
    assert (np.asarray(best.objective) <= np.asarray(untouched.objective) * (1 + 1e-5)).all()
