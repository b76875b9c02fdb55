"""The variant `paper` against the paper's equations, written out in NumPy one term at a time.

W holds a row w_k for each concept, phi a row of scores for each image; k and j run over the pairs
of the batch, of which there are as many as images, or as concepts where there are fewer.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.objectives.contrastive import contrastive
from jaxcbm.bottleneck.objectives.gumbel import gumbel
from jaxcbm.bottleneck.objectives.table import OBJECTIVES
from jaxcbm.training.config import FitConfig, TrainingConfig
from jaxcbm.training.step import TrainData, loss, make_plan

# Images and concepts: as many, more concepts, more images, one image, one concept.
SIZES = [(6, 6), (8, 57), (9, 4), (1, 5), (5, 1)]
CLASSES = 3


def problem(images, concepts, shift=0.0):
    """W and phi in float64; most products are positive where the shift is large."""
    rng = np.random.default_rng(images * 100 + concepts)
    W = rng.normal(size=(concepts, concepts)) / np.sqrt(concepts) + shift
    return W, rng.normal(1.0, 0.5, size=(images, concepts))


def both_directions(logit_over_images, logit_over_concepts, pairs):
    """-1 / 2B sum_k of the two log ratios; each logit is a function of its two indices."""
    total = 0.0
    for k in range(pairs):
        over_images = sum(np.exp(logit_over_images(k, j)) for j in range(pairs))
        over_concepts = sum(np.exp(logit_over_concepts(j, k)) for j in range(pairs))
        total += np.log(np.exp(logit_over_images(k, k)) / over_images)
        total += np.log(np.exp(logit_over_concepts(k, k)) / over_concepts)
    return -total / (2 * pairs)


def contrastive_equation(W, phi, alpha=1.0):
    def logit(concept, image):
        return alpha * np.dot(W[concept], phi[image])

    return both_directions(logit, logit, min(len(phi), len(W)))


def gumbel_equation(W, phi, over_concepts, over_images, tau, alpha=1.0):
    """Noise of image i and concept d, for each of the two sums, stands at [i, d]."""

    def logits_with(noise):
        def logit(concept, image):
            product = max(np.dot(W[concept], phi[image]), 1e-6)
            return (np.log(alpha * product) + noise[image, concept]) / tau

        return logit

    pairs = min(len(phi), len(W))
    return both_directions(logits_with(over_images), logits_with(over_concepts), pairs)


def logits(W, phi):
    return jnp.asarray(phi @ W.T, jnp.float32)


def noise_of(pairs, seed):
    return np.random.default_rng(seed).gumbel(size=(pairs, pairs))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_contrastive(size, scale):
    W, phi = problem(*size)
    # The encoder's scale is in the scores.
    value = contrastive(logits(W, scale * phi), variant="paper")
    np.testing.assert_allclose(value, contrastive_equation(W, phi, scale), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tau", [1.0, 0.5])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_gumbel(size, tau, shift):
    W, phi = problem(size[0], size[1], shift)
    noise = noise_of(min(size), 1), noise_of(min(size), 2)
    given = tuple(jnp.asarray(one, jnp.float32) for one in noise)
    value = gumbel(logits(W, phi), tau=tau, variant="paper", noise=(given[0], given[1]))
    expected = gumbel_equation(W, phi, noise[0], noise[1], tau)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)


def test_products_of_either_sign_are_tried():
    """Else the tests above would not see the logarithm's floor."""
    for shift, expected in ((0.0, (0.2, 0.8)), (1.0, (0.99, 1.0))):
        W, phi = problem(8, 57, shift)
        assert expected[0] <= np.mean((phi @ W.T)[:8, :8] > 1e-6) <= expected[1]


def test_alpha_cancels_in_gumbel():
    W, phi = problem(8, 57, shift=1.0)
    noise = noise_of(8, 1), noise_of(8, 2)
    given = tuple(jnp.asarray(one, jnp.float32) for one in noise)
    for alpha in (0.1, 100.0):
        expected = gumbel_equation(W, phi, noise[0], noise[1], 0.5, alpha)
        value = gumbel(logits(W, phi), tau=0.5, variant="paper", noise=(given[0], given[1]))
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_a_product_that_is_not_positive_has_no_gradient():
    z = jnp.asarray([[2.0, -1.0], [0.5, 3.0]])
    value, gradient = jax.value_and_grad(functools.partial(gumbel, variant="paper"))(z)
    assert np.isfinite(value) and np.array_equal(gradient != 0, z > 0)


@pytest.mark.parametrize("objective", [contrastive, gumbel])
def test_only_the_first_concepts_and_images_are_paired(objective):
    z = jnp.asarray(np.random.default_rng(0).normal(3.0, 1.0, (4, 7)), jnp.float32)
    paper = jax.grad(functools.partial(objective, variant="paper"))
    assert np.array_equal((np.asarray(paper(z)) != 0).any(axis=0), np.arange(7) < 4)
    assert np.array_equal((np.asarray(paper(z.T)) != 0).any(axis=1), np.arange(7) < 4)


def test_each_direction_draws_its_own_noise():
    z = jnp.asarray(np.random.default_rng(0).normal(3.0, 0.1, (300, 400)), jnp.float32)
    values = [float(gumbel(z, jax.random.key(i), variant="paper")) for i in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    # Of one noise for both, the transposed problem would have the same value.
    assert values[0] != pytest.approx(float(gumbel(z.T, jax.random.key(0), variant="paper")))


def step_gradients(objective, penalty=0.3):
    """Gradients and metrics of one step of the paper's system, and its arrays."""
    model = BottleneckConfig(
        objective=objective,
        variant="paper",
        parameterisation="full",
        standardise=False,
        head_bias=False,
        penalty=penalty,
    )
    structure, params = build_bottleneck(model, 5, 5, CLASSES)
    rng = np.random.default_rng(0)
    phi, labels = rng.normal(2.0, 1.0, (4, 5)), np.array([0, 2, 1, 1])
    plan = make_plan(structure, FitConfig(model, TrainingConfig(batch_size=4)), 4)
    batch = TrainData(jnp.asarray(phi, jnp.float32), jnp.asarray(labels))
    gradients, _ = jax.grad(loss, has_aux=True)(
        params, plan, batch, jax.random.key(0), jnp.ones(())
    )
    return gradients, params, jnp.asarray(phi, jnp.float32), jnp.asarray(labels)


def cross_entropy(W, F, phi, labels):
    """CE(W_F W_CBL phi, l)."""
    classes = phi @ W.T @ F.T
    return optax.softmax_cross_entropy_with_integer_labels(classes, labels).mean()


@pytest.mark.parametrize("objective", ["contrastive", "gumbel"])
def test_cross_entropy_trains_the_head_alone(objective):
    gradients, params, phi, labels = step_gradients(objective)
    W, F = params["cbl.kernel"].T, params["head.kernel"].T
    of_head = jax.grad(cross_entropy, argnums=1)(W, F, phi, labels)
    np.testing.assert_allclose(gradients["head.kernel"].T, of_head, rtol=1e-5, atol=1e-7)
    if objective == "contrastive":
        of_layer = jax.grad(lambda W: contrastive(phi @ W.T, variant="paper"))(W)
        np.testing.assert_allclose(gradients["cbl.kernel"].T, of_layer, rtol=1e-4, atol=1e-6)


def test_l1_stands_inside_the_cross_entropy_of_both_layers():
    """E[CE(W_F W_CBL phi, l) + lambda / D ||W_CBL||_1]."""
    penalty = 0.3
    gradients, params, phi, labels = step_gradients("l1", penalty)
    W, F = params["cbl.kernel"].T, params["head.kernel"].T

    def equation(W, F):
        norm = jnp.sum(jnp.where(W > 0, W, -W))
        return cross_entropy(W, F, phi, labels) + penalty / len(W) * norm

    for found, expected in zip(
        (gradients["cbl.kernel"].T, gradients["head.kernel"].T),
        jax.grad(equation, argnums=(0, 1))(W, F),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_paper_has_three_objectives():
    having = {name for name, record in OBJECTIVES.items() if "paper" in record.variants}
    assert having == {"gumbel", "contrastive", "l1"}
