"""Samplers: sums, limits, unbiasedness, gradients, and what inference does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxcbm.bottleneck import samplers
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import ConceptBottleneck, build_bottleneck
from jaxcbm.bottleneck.sampler_modules import SAMPLERS

KEY = jax.random.key(0)


def draw(shape, seed=0, scale=2.0):
    return jnp.asarray(np.random.default_rng(seed).normal(scale=scale, size=shape), jnp.float32)


def many(sampler, z, count=4000):
    keys = jax.random.split(jax.random.key(1), count)
    return jax.jit(jax.vmap(lambda key: sampler(z, key)))(keys)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("key", [None, KEY])
def test_gumbel_softmax_rows_sum_to_one(hard, key):
    sample = samplers.gumbel_softmax(draw((6, 30)), key, tau=0.5, hard=hard)
    assert (sample >= 0).all()
    np.testing.assert_allclose(sample.sum(axis=1), 1.0, rtol=1e-5)
    if hard:
        assert set(np.unique(sample)) == {0.0, 1.0}


def test_gumbel_softmax_samples_the_softmax():
    z = jnp.array([1.0, 0.0, -1.0])
    sample = functools.partial(samplers.gumbel_softmax, hard=True)
    np.testing.assert_allclose(many(sample, z).mean(axis=0), jax.nn.softmax(z), atol=0.03)


def test_gumbel_softmax_turns_one_hot_as_tau_falls():
    z = draw((8, 12))
    cold = samplers.gumbel_softmax(z, KEY, tau=1e-4)
    np.testing.assert_allclose(cold, samplers.gumbel_softmax(z, KEY, hard=True), atol=1e-5)
    hot = samplers.gumbel_softmax(z, KEY, tau=1e5)
    np.testing.assert_allclose(hot, 1 / 12, atol=1e-4)


def test_gumbel_softmax_straight_through_gradient_is_the_relaxed_one():
    z, weights = draw((4, 9)), draw((4, 9), 1)

    def loss(z, hard):
        return jnp.sum(weights * samplers.gumbel_softmax(z, KEY, tau=0.7, hard=hard))

    soft, hard = (jax.grad(loss)(z, hard) for hard in (False, True))
    np.testing.assert_array_equal(soft, hard)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_sigmoid_is_a_probability_everywhere(dtype):
    z = jnp.array([-1e30, -90.0, -2.0, 0.0, 2.0, 90.0, 1e30], dtype)
    p = samplers.sigmoid(z)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-np.asarray(z, np.float64)))
    assert p.dtype == dtype
    np.testing.assert_allclose(np.asarray(p, np.float64), expected, rtol=1e-2, atol=1e-7)
    gradient = jax.grad(lambda z: samplers.sigmoid(z).astype(jnp.float32).sum())(z)
    np.testing.assert_allclose(
        np.asarray(gradient, np.float64), expected * (1 - expected), rtol=2e-2, atol=1e-7
    )


@pytest.mark.parametrize("layer", ["full", "residual", "factored"])
def test_the_layer_has_a_bias_where_activations_are_probabilities(layer):
    for name in SAMPLERS:
        config = BottleneckConfig(sampler=name, parameterisation=layer, k=2)
        bottleneck, params = build_bottleneck(config, 4, 4, 2)
        assert ("cbl.bias" in params) == config.layer_bias == (name == "sigmoid")
        if config.layer_bias:
            x, shift = draw((3, 4)), jnp.arange(4.0)
            before = bottleneck.apply(params, x)[1].concept_logits
            after = bottleneck.apply(params | {"cbl.bias": shift}, x)[1].concept_logits
            np.testing.assert_allclose(after - before, shift[None, :] + 0 * x, atol=1e-5)


MODULES = {
    "identity": (BottleneckConfig(), lambda z, key, tau: z),
    "sigmoid": (
        BottleneckConfig(sampler="sigmoid"),
        lambda z, key, tau: samplers.sigmoid(z),
    ),
    "gumbel_softmax": (
        BottleneckConfig(sampler="gumbel_softmax", hard=True),
        lambda z, key, tau: samplers.gumbel_softmax(z, key, tau=tau, hard=True),
    ),
    "top_k": (
        BottleneckConfig(sampler="top_k", k=2),
        lambda z, key, tau: samplers.top_k(z, key, k=2, tau=tau),
    ),
    "binary_concrete": (
        BottleneckConfig(sampler="binary_concrete", prior=0.3),
        lambda z, key, tau: samplers.binary_concrete(z, key, tau=tau, prior=0.3)[0],
    ),
}


def test_every_sampler_is_held_against_its_function():
    assert MODULES.keys() == SAMPLERS.keys()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("key", [None, KEY], ids=["inference", "training"])
def test_the_models_sampler_is_the_function(name, key):
    config, function = MODULES[name]
    z = draw((3, 5))
    model = ConceptBottleneck(config, 5, 5, 2, rngs=nnx.Rngs(0))
    expected = function(z, key, 0.3)
    activations, kl = model.sampler(z, key, tau=0.3)
    np.testing.assert_array_equal(activations, expected)
    assert kl.shape == () and (kl > 0) == (name == "binary_concrete")
    graph, state = nnx.split(model.sampler)
    assert not jax.tree.leaves(state)
    merged = jax.jit(lambda z, key, tau: nnx.merge(graph, state)(z, key, tau=tau)[0])
    np.testing.assert_allclose(merged(z, key, 0.3), expected, rtol=1e-5)
    _, between = model(z, key=key, tau=0.3)
    np.testing.assert_array_equal(
        between.concept_activations, model.sampler(between.concept_logits, key, tau=0.3)[0]
    )


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.9])
def test_binary_concrete_divergence(prior):
    z = jnp.linspace(-40.0, 40.0, 81)
    _, kl = jax.vmap(functools.partial(samplers.binary_concrete, prior=prior))(z[:, None])
    q = 1 / (1 + np.exp(-np.asarray(z, np.float64)))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(q > 0, q * np.log(q / prior), 0.0)
        expected += np.where(q < 1, (1 - q) * np.log((1 - q) / (1 - prior)), 0.0)
    assert (kl >= 0).all()
    np.testing.assert_allclose(kl, expected, rtol=1e-4, atol=1e-6)
    at_prior = jnp.log(jnp.float32(prior) / (1 - prior))
    np.testing.assert_allclose(
        samplers.binary_concrete(at_prior[None], prior=prior)[1], 0, atol=1e-6
    )


def test_binary_concrete_sums_divergence_over_concepts():
    z = draw((5, 7))
    activations, kl = samplers.binary_concrete(z, KEY)
    assert activations.shape == z.shape and kl.shape == (5,)
    each = jax.vmap(samplers.binary_concrete)(z.reshape(-1, 1))[1].reshape(5, 7)
    np.testing.assert_allclose(kl, each.sum(axis=1), rtol=1e-5)


def test_binary_concrete_is_on_with_probability_sigmoid():
    z = jnp.array([-2.0, -0.5, 1.0, 3.0])
    on = many(lambda z, key: samplers.binary_concrete(z, key, tau=1e-4)[0] / z, z)
    np.testing.assert_allclose(on.mean(axis=0), jax.nn.sigmoid(z), atol=0.03)
    np.testing.assert_array_equal(samplers.binary_concrete(z)[0], [0, 0, 1, 3])


@pytest.mark.parametrize("k", [1, 4, 19])
@pytest.mark.parametrize("tau", [0.01, 0.5, 10.0])
def test_relaxed_subset_sums_to_k(k, tau):
    mask = samplers.relaxed_top_k_mask(draw((6, 20)), k, tau)
    assert (mask >= 0).all() and (mask <= 1).all()
    np.testing.assert_allclose(mask.sum(axis=1), k, rtol=1e-4)


def test_relaxed_subset_becomes_the_exact_one_as_tau_falls():
    z = draw((6, 20))
    np.testing.assert_allclose(
        samplers.relaxed_top_k_mask(z, 4, 1e-4), samplers.top_k_mask(z, 4), atol=1e-5
    )


def test_relaxed_subset_gradient_is_the_derivative():
    z, weights = draw((1, 8), scale=1.0), draw((1, 8), 1)

    @jax.jit
    def value(z, tau):
        return jnp.sum(weights * samplers.relaxed_top_k_mask(z, 3, tau))

    gradient = jax.grad(value)(z, 0.8)
    steps = 0.02 * jnp.eye(8)[:, None, :]
    numeric = jax.vmap(lambda step: value(z + step, 0.8) - value(z - step, 0.8))(steps) / 0.04
    np.testing.assert_allclose(gradient[0], numeric, rtol=2e-2, atol=2e-3)
    np.testing.assert_allclose(gradient.sum(), 0.0, atol=1e-5)  # The sum stays k.


def test_top_k_at_inference_keeps_exactly_the_k_largest():
    z = draw((6, 20))
    kept = samplers.top_k(z, k=5)
    assert (np.count_nonzero(kept, axis=1) == 5).all()
    np.testing.assert_array_equal(jnp.sort(kept, axis=1), jnp.sort(jnp.where(kept != 0, z, 0), 1))
    assert (np.asarray(samplers.top_k_mask(jnp.zeros((3, 20)), 5)).sum(axis=1) == 5).all()
    np.testing.assert_array_equal(samplers.top_k(z, KEY, k=20), z)
    with pytest.raises(ValueError, match="k=0"):
        samplers.top_k(z, k=0)


def test_top_k_samples_without_replacement():
    """The first of a Gumbel top-1 is a softmax sample; every pair is possible for k = 2."""
    z = jnp.array([1.0, 0.5, 0.2])
    first = many(lambda z, key: samplers.top_k(z, key, k=1, tau=1e-4) / z, z)
    np.testing.assert_allclose(first.mean(axis=0), jax.nn.softmax(z), atol=0.03)
    pairs = many(lambda z, key: samplers.top_k(z, key, k=2, tau=1e-4) / z, z)
    assert len(np.unique(np.round(pairs), axis=0)) == 3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(4, 4751), (1, 1)])
def test_finite_at_clip_scale(dtype, shape):
    z = (20 + draw(shape, scale=120.0)).astype(dtype)

    @jax.jit
    def losses(z, key, tau):
        activations, kl = samplers.binary_concrete(z, key, tau=tau)
        samples = [
            samplers.identity(z),
            samplers.gumbel_softmax(z, key, tau=tau),
            samplers.gumbel_softmax(z, key, tau=tau, hard=True),
            samplers.top_k(z, key, k=10, tau=tau),
            activations,
        ]
        assert all(sample.dtype == dtype for sample in samples)
        weights = draw(shape).astype(jnp.float32)
        return jnp.sum(kl) + sum(jnp.sum(weights * s.astype(jnp.float32)) for s in samples)

    for tau in (1.0, 0.05):
        value, gradient = jax.value_and_grad(losses)(z, KEY, tau)
        assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
