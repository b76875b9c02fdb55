"""Properties of the objectives: invariances, limits, and finiteness at every size and type."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.objectives.contrastive import contrastive as plain_contrastive
from jaxcbm.bottleneck.objectives.gumbel import gumbel as plain_gumbel
from jaxcbm.bottleneck.objectives.l1 import l1
from jaxcbm.bottleneck.objectives.sigmoid import sigmoid as plain_sigmoid
from jaxcbm.bottleneck.objectives.similarity import similarity as plain_similarity
from jaxcbm.bottleneck.objectives.table import OBJECTIVES, ObjectiveInputs

SHAPES = [(5, 7), (7, 5), (1, 4), (1, 1)]

contrastive = jax.jit(plain_contrastive, static_argnames="variant")
gumbel = jax.jit(plain_gumbel, static_argnames="variant")
similarity = jax.jit(plain_similarity, static_argnames=("variant", "cubed"))
sigmoid = jax.jit(plain_sigmoid, static_argnames="biased")


def draw(shape, seed=0, scale=3.0):
    return jnp.asarray(np.random.default_rng(seed).normal(scale=scale, size=shape), jnp.float32)


def mask(shape, seed=0, density=0.4):
    return jnp.asarray(np.random.default_rng(seed).random(shape) < density, jnp.float32)


def reference_matched(z, positives, axis):
    """Mean over slices with a positive of the mean of -log softmax over their positives."""
    z, positives = np.asarray(z, np.float64), np.asarray(positives)
    if axis == 0:
        z, positives = z.T, positives.T
    losses = []
    for logits, marks in zip(z, positives, strict=True):
        log_p = logits - np.log(np.exp(logits).sum())
        if marks.any():
            losses.append(-(marks * log_p).sum() / marks.sum())
    return np.mean(losses) if losses else 0.0


@pytest.mark.parametrize("shape", SHAPES)
def test_paired_equals_a_double_loop(shape):
    z, positives = draw(shape), mask(shape)
    expected = 0.5 * sum(reference_matched(z, positives, axis) for axis in (0, 1))
    value = contrastive(z, positives=positives)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_gumbel_directions_use_their_own_noise(shape, tau):
    z, positives = draw(shape), mask(shape, 3)
    noise = over_rows, over_columns = draw(shape, 1), draw(shape, 2)
    value = gumbel(z, tau=tau, noise=noise, positives=positives)
    rows = reference_matched((z + over_rows) / tau, positives, axis=1)
    columns = reference_matched((z + over_columns) / tau, positives, axis=0)
    np.testing.assert_allclose(value, 0.5 * (rows + columns), rtol=1e-5, atol=1e-6)


@jax.jit
def paired_and_released(z):
    paired = functools.partial(plain_contrastive, positives=jnp.eye(*z.shape))
    released = functools.partial(plain_contrastive, variant="released")
    return jax.value_and_grad(paired)(z), jax.value_and_grad(released)(z)


@given(
    size=st.sampled_from([1, 5]), seed=st.integers(0, 1000), scale=st.sampled_from([0.1, 3, 100])
)
@settings(max_examples=30)
def test_identity_positives_on_a_square_give_the_released_contrastive(size, seed, scale):
    paired, released = paired_and_released(draw((size, size), seed, scale))
    np.testing.assert_allclose(paired[0], released[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(paired[1], released[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gumbel_without_noise_is_contrastive(shape):
    z, positives, zero = draw(shape), mask(shape), jnp.zeros(shape)
    pairs = [("diagonal", None), ("paired", positives)]
    for variant, marks in pairs:
        expected = contrastive(z, variant=variant, positives=marks)
        for noise in [(zero, zero), None]:
            value = gumbel(z, variant=variant, positives=marks, noise=noise)
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_gumbel_approaches_contrastive_as_noise_shrinks():
    z, positives, noise = draw((6, 9)), mask((6, 9)), draw((6, 9), 5)
    expected = contrastive(z, positives=positives)

    def distance(size):
        small = (size * noise, size * noise)
        return abs(float(gumbel(z, noise=small, positives=positives) - expected))

    assert distance(1.0) > distance(0.1) > distance(0.01)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_order_of_images_and_concepts_does_not_matter_when_paired(seed):
    rng = np.random.default_rng(seed)
    z, positives, shape = draw((6, 9), seed), mask((6, 9), seed), (6, 9)
    rows, columns = rng.permutation(shape[0])[:, None], rng.permutation(shape[1])[None, :]
    for objective in (contrastive, sigmoid):
        np.testing.assert_allclose(
            objective(z[rows, columns], positives=positives[rows, columns]),
            objective(z, positives=positives),
            rtol=1e-5,
        )
    psi = draw(shape, seed + 1)
    np.testing.assert_allclose(
        similarity(psi[rows, columns], z[rows, columns], cubed=True),
        similarity(psi, z, cubed=True),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_diagonal_compares_every_image_and_every_concept(shape):
    z, noise = draw(shape), (draw(shape, 1), draw(shape, 2))
    value = gumbel(z, tau=0.5, variant="diagonal", noise=noise)
    rows = reference_matched((z + noise[0]) / 0.5, np.eye(*shape), axis=1)
    columns = reference_matched((z + noise[1]) / 0.5, np.eye(*shape), axis=0)
    np.testing.assert_allclose(value, 0.5 * (rows + columns), rtol=1e-5, atol=1e-6)


def test_released_gumbel_does_not_know_pairs_but_diagonal_does():
    z = 5 * jnp.eye(6)
    shuffled = jnp.roll(z, 1, axis=1)
    released, diagonal = (functools.partial(gumbel, variant=v) for v in ("released", "diagonal"))
    np.testing.assert_allclose(released(z), released(shuffled), rtol=1e-6)
    assert diagonal(shuffled) > diagonal(z) + 1


def test_released_gumbel_is_least_when_uniform():
    flat = gumbel(jnp.zeros((5, 5)), variant="released")
    np.testing.assert_allclose(flat, np.log(5), rtol=1e-6)
    assert gumbel(draw((5, 5)), variant="released") > flat


def test_raising_a_positive_lowers_the_loss():
    z, positives = draw((6, 9)), mask((6, 9))
    gradient = np.asarray(jax.grad(contrastive)(jnp.zeros((6, 9)), positives=positives))
    has_pair = np.asarray(positives.sum(1) > 0)[:, None] & np.asarray(positives.sum(0) > 0)
    marked = np.asarray(positives) > 0
    assert (gradient[marked & has_pair] < 0).all()
    assert (gradient[~marked & has_pair] > 0).all()
    raised = contrastive(z + 2 * positives, positives=positives)
    assert raised < contrastive(z, positives=positives)


def reference_sigmoid(z, positives):
    """Binary cross-entropies of probabilities, one pair after the other, in float64."""
    z, positives = np.asarray(z, np.float64), np.asarray(positives, np.float64)
    images, common, losses = len(z), positives.mean(), []
    for d in range(z.shape[1]):
        share = (positives[:, d].sum() + common) / (images + 1)
        for b in range(images):
            odds = np.exp(z[b, d]) * share / (1 - share)
            probability = odds / (1 + odds)
            losses.append(-np.log(probability if positives[b, d] else 1 - probability))
    return np.mean(losses)


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (3, 4)])
def test_sigmoid_equals_a_double_loop(shape):
    z, positives = draw(shape), mask(shape)
    np.testing.assert_allclose(
        sigmoid(z, positives=positives), reference_sigmoid(z, positives), rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(5, 7), (3, 4)])
def test_sigmoid_of_a_biased_layer_is_the_mean_log_loss(shape):
    z, positives = draw(shape), mask(shape)
    p = 1 / (1 + np.exp(-np.asarray(z, np.float64)))
    likelihoods = np.where(np.asarray(positives) > 0, p, 1 - p)
    value = sigmoid(z, positives=positives, biased=True)
    np.testing.assert_allclose(value, -np.log(likelihoods).mean(), rtol=1e-5)
    config = BottleneckConfig(objective="sigmoid", sampler="sigmoid")
    inputs = ObjectiveInputs(z, z, z, positives, jax.random.key(0), jnp.ones(()))
    for each, expected in ((config, value), (replace(config, sampler="identity"), None)):
        expected = sigmoid(z, positives=positives) if expected is None else expected
        np.testing.assert_allclose(OBJECTIVES["sigmoid"].loss(each, inputs), expected, rtol=1e-6)


def test_sigmoid_at_zero_says_how_common_a_concept_is():
    """The gradient of a concept sums to nearly 0 over images: no need to say that it is rare."""
    positives = jnp.asarray(np.arange(200)[:, None] < np.array([[2, 20, 100]]), jnp.float32)
    gradient = jax.grad(sigmoid)(jnp.zeros((200, 3)), positives=positives)
    pull = np.abs(np.asarray(gradient)).sum(axis=0)
    np.testing.assert_array_less(np.abs(np.asarray(gradient).sum(axis=0)), 0.1 * pull)
    marked = np.asarray(positives) > 0
    assert (gradient[marked] < 0).all() and (gradient[~marked] > 0).all()


@pytest.mark.parametrize("marks", [0.0, 1.0])
def test_sigmoid_of_one_answer_everywhere_is_nearly_zero(marks):
    value, gradient = jax.value_and_grad(sigmoid)(draw((4, 6)), positives=jnp.full((4, 6), marks))
    assert 0 <= value < 1e-2 and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_sigmoid_is_finite_where_it_is_sure_and_wrong(size):
    positives = mask((6, 9))
    wrong = size * (1 - 2 * positives)
    value, gradient = jax.value_and_grad(sigmoid)(wrong, positives=positives)
    np.testing.assert_allclose(value, size, rtol=1e-2)
    assert jnp.isfinite(gradient).all()
    assert sigmoid(-wrong, positives=positives) < 1e-3


def test_no_positives_is_zero_with_zero_gradient():
    none = jnp.zeros((4, 6))
    for objective in (contrastive, gumbel):
        value, gradient = jax.value_and_grad(objective)(draw((4, 6)), positives=none)
        assert value == 0 and (gradient == 0).all()


@pytest.mark.parametrize("cubed", [False, True])
@pytest.mark.parametrize("variant", OBJECTIVES["similarity"].variants)
def test_similarity_ignores_shift_and_scale_of_a_concept(cubed, variant):
    psi, z = draw((8, 5)), draw((8, 5), 1)
    compare = functools.partial(similarity, cubed=cubed, variant=variant)
    scaled = z * jnp.array([[1e-3, 0.1, 1.0, 10.0, 1e3]]) + 2.0
    np.testing.assert_allclose(compare(psi, scaled), compare(psi, z), rtol=2e-2)
    np.testing.assert_allclose(compare(z, z), -1.0, rtol=1e-5)
    np.testing.assert_allclose(compare(-z, z), 1.0, rtol=1e-5)


def test_similarity_of_tiny_or_constant_columns():
    psi, z = draw((8, 3)), draw((8, 3), 1)
    tiny = functools.partial(similarity, psi, cubed=True)
    np.testing.assert_allclose(tiny(1e-12 * z), tiny(z), rtol=1e-4)
    constant = z.at[:, 1].set(20.1)
    value, gradient = jax.value_and_grad(functools.partial(similarity, psi))(constant)
    assert jnp.isfinite(value) and (gradient[:, 1] == 0).all() and (gradient[:, 0] != 0).any()
    assert jnp.isnan(similarity(psi[:1], z[:1], variant="released"))
    one = jax.value_and_grad(functools.partial(similarity, psi[:1]))(z[:1])
    assert one[0] == 0 and (one[1] == 0).all()


@functools.partial(jax.jit, static_argnames="safe")
def everything(z, psi, key, tau, positives, safe):
    """All values of the table, and the gradient of their sum: finite only if each of them is."""

    def total(z, psi):
        inputs = ObjectiveInputs(psi, z, z, positives, key, tau)
        values = [
            record.loss(BottleneckConfig(objective=name, variant=variant), inputs)
            for name, record in OBJECTIVES.items()
            for variant in record.variants
            if not (safe and (name, variant) == ("similarity", "released"))
        ]
        values = jnp.stack(values)
        return jnp.sum(values), values

    gradients, values = jax.grad(total, (0, 1), has_aux=True)(z, psi)
    return values, gradients


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_finite_at_clip_scale(dtype, factor):
    """Scores of mean 20, deviation 3 through a random layer: what overflows the released code."""
    depth = 4751
    rng = np.random.default_rng(0)
    psi = rng.normal(20.0, 3.0, (8, depth))
    z = factor * (rng.normal(0.0, 12.0, (8, depth)) + rng.normal(0.0, 12.0, (1, depth)))
    z, psi = jnp.asarray(z, dtype), jnp.asarray(psi, dtype)
    arguments = z, psi, jax.random.key(0), 0.5, mask((8, depth), density=0.002)
    values, gradients = everything(*arguments, safe=False)
    assert values.dtype == jnp.float32 and jnp.isfinite(values).all()
    for gradient in jax.tree.leaves(gradients):
        assert gradient.dtype == dtype and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_finite_at_one_image_and_one_concept(dtype):
    z = jnp.full((1, 1), 36.0, dtype)
    arguments = z, z, jax.random.key(0), 0.5, jnp.ones((1, 1))
    values, gradients = everything(*arguments, safe=True)
    assert jnp.isfinite(values).all()
    assert all(jnp.isfinite(gradient).all() for gradient in jax.tree.leaves(gradients))


def test_bfloat16_is_near_float32():
    # The shapes and types of the tests above, and so their programs.
    shape = (8, 4751)
    z, psi, positives = draw(shape), 20 + draw(shape, 1), mask(shape, density=0.002)
    arguments = jax.random.key(0), 0.7, positives
    exact, _ = everything(z, psi, *arguments, safe=False)
    z, psi = z.astype("bfloat16"), psi.astype("bfloat16")
    rounded, _ = everything(z, psi, *arguments, safe=False)
    np.testing.assert_allclose(rounded, exact, rtol=1e-2, atol=1e-2)
    z, psi = z.astype("float32"), psi.astype("float32")
    same, _ = everything(z, psi, *arguments, safe=False)
    np.testing.assert_allclose(rounded, same, rtol=1e-5)


def test_a_grid_is_one_program():
    z, keys = draw((3, 4, 6)), jax.random.split(jax.random.key(0), 3)
    taus, penalties = jnp.array([1.0, 0.5, 0.1]), jnp.array([0.0, 1e-3, 1.0])

    def losses(z, key, tau, penalty):
        pairs = jnp.eye(4, 6)
        paired = plain_gumbel(z, key, tau=tau, positives=pairs) + plain_sigmoid(z, positives=pairs)
        return paired + l1(z, penalty) + plain_similarity(z, z**2)

    grid = jax.jit(jax.vmap(losses))(z, keys, taus, penalties)
    cases = zip(z, keys, taus, penalties, strict=True)
    np.testing.assert_allclose(grid, [jax.jit(losses)(*case) for case in cases], rtol=1e-5)


def test_noise_comes_from_the_key():
    z, positives = draw((5, 8)), mask((5, 8))
    first, again, other = (gumbel(z, jax.random.key(i), positives=positives) for i in (0, 0, 1))
    assert first == again and first != other


@pytest.mark.parametrize(
    "call",
    [
        lambda z, v: contrastive(z, variant=v),
        lambda z, v: gumbel(z, variant=v),
        lambda z, v: l1(z, 1e-3, variant=v),
        lambda z, v: similarity(z, z, variant=v),
    ],
)
def test_unknown_variant_names_the_known(call):
    with pytest.raises(ValueError, match=r"'legacy'.*paired, paper, diagonal, released"):
        call(jnp.ones((2, 2)), "legacy")
