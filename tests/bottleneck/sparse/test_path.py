"""The sparse path: certified optimal, exactly sparse, and equal to scikit-learn's elastic net."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.linear_model import LogisticRegression

from jaxcbm.bottleneck.sparse import quadratic_model
from jaxcbm.bottleneck.sparse.nec_curve import truncate_to_nec
from jaxcbm.bottleneck.sparse.path import elastic_net_path, nec, path_in_pieces
from jaxcbm.distributed.mesh import make_mesh

SAMPLES, CONCEPTS, CLASSES = 240, 12, 4
# More than the tolerance of 1e-6 that most paths here ask for.
ROUNDING = np.float32(np.finfo(np.float32).eps * np.sqrt(SAMPLES))


@pytest.fixture(scope="module")
def data():
    """Correlated activations that share a large mean, as concept scores do."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, SAMPLES).astype(np.int32)
    centres = rng.normal(size=(CLASSES, CONCEPTS)) * (rng.random((CLASSES, CONCEPTS)) < 0.4)
    noise = rng.normal(size=(SAMPLES, CONCEPTS)) + rng.normal(size=(SAMPLES, 1))
    return (5 + centres[labels] + noise).astype(np.float32), labels


@pytest.fixture(scope="module")
def path(data):
    return elastic_net_path(*data, CLASSES, path_length=8, lambda_ratio=1e-2, tolerance=1e-6)


def objective(data, weights, bias, penalty, l1_ratio=0.99):
    activations, labels = data
    logits = activations.astype(np.float64) @ np.asarray(weights, np.float64).T + np.asarray(bias)
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    loss = np.mean(log_sum - logits[np.arange(len(labels)), labels])
    weights = np.asarray(weights, np.float64)
    return loss + penalty * (
        l1_ratio * np.abs(weights).sum() + 0.5 * (1 - l1_ratio) * (weights**2).sum()
    )


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_a_path_in_pieces_is_the_path(data, path, at_once):
    how = {"path_length": 8, "lambda_ratio": 1e-2, "tolerance": 1e-6}
    pieces = list(path_in_pieces(*data, CLASSES, at_once=at_once, **how))
    assert max(len(piece.nec) for piece in pieces) == at_once
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *pieces)
    np.testing.assert_allclose(joined.lambdas, path.lambdas, rtol=1e-6)
    np.testing.assert_allclose(joined.objective, path.objective, rtol=2e-6)
    np.testing.assert_allclose(joined.weights, path.weights, atol=2e-3)
    # Each piece starts where the one before it ended, or it would take many times as long.
    assert int(joined.iterations.sum()) <= 1.1 * int(path.iterations.sum())
    # No certificate claims less than the rounding of its sums.
    assert float(jnp.max(joined.certificate)) <= max(1e-6, float(jnp.max(path.certificate)))


@pytest.mark.parametrize("index", [3, 7])
def test_equals_scikit_learn(data, path, index):
    penalty = float(path.lambdas[index])
    reference = LogisticRegression(
        C=1 / (penalty * SAMPLES), l1_ratio=0.99, solver="saga", tol=1e-7, max_iter=20000
    )
    # SAGA crawls on uncentred inputs; with a free bias, centring changes nothing else.
    mean = data[0].mean(axis=0)
    reference.fit(data[0].astype(np.float64) - mean, data[1])
    bias = reference.intercept_ - reference.coef_ @ mean
    theirs = objective(data, reference.coef_, bias, penalty)
    ours = objective(data, path.weights[index], path.biases[index], penalty)
    assert abs(ours - theirs) <= 1e-4 * theirs
    np.testing.assert_allclose(path.objective[index], ours, rtol=1e-5)
    # The same support, but for weights that hardly matter to either objective.
    large = np.abs(reference.coef_) > 3e-2
    assert (np.asarray(path.weights[index])[large] != 0).all()
    assert (np.abs(path.weights[index])[reference.coef_ == 0] < 3e-2).all()


def test_certificate_holds(data, path):
    """The gap bounds the distance to the best of a much longer run."""
    assert (path.certificate <= ROUNDING).all()
    rough = elastic_net_path(*data, CLASSES, lambdas=path.lambdas, tolerance=3e-2)
    assert (rough.certificate <= 3e-2).all() and rough.iterations.sum() < path.iterations.sum()
    excess = (rough.objective - path.objective) / rough.objective
    assert (excess <= rough.certificate + 1e-5).all()
    assert excess.max() > 1e-5, "the rough run is not rough, so nothing was tested"


def test_a_certificate_never_claims_more_than_float32_can_tell(data, path):
    """The path begins at a model that is optimal to the last digit, where the difference is 0."""
    assert (path.certificate >= ROUNDING).all() and path.certificate[0] == ROUNDING
    solved = zip(path.weights, path.biases, path.lambdas, strict=True)
    exact = [objective(data, *one) for one in solved]
    np.testing.assert_allclose(path.objective, exact, rtol=ROUNDING)


def test_certificate_tells_of_too_few_iterations(data, path):
    short = elastic_net_path(*data, CLASSES, lambdas=path.lambdas, max_iterations=7)
    assert short.iterations.max() == 7 and short.certificate[-1] > 1e-3


def test_zeros_are_exact_and_the_path_fills_up(path):
    assert path.nec[0] == 0 and (path.weights[0] == 0).all()
    assert (np.diff(path.lambdas) < 0).all()
    inner = np.asarray(path.weights[3])
    assert 0 < np.count_nonzero(inner) < inner.size
    assert path.nec[-1] > path.nec[2]
    np.testing.assert_allclose(path.nec[3], np.count_nonzero(inner) / CLASSES)


def test_the_path_begins_where_the_model_empties(data, path):
    largest = float(path.lambdas[0])
    around = jnp.linspace(1.001, 0.98, path.lambdas.size) * largest
    near = elastic_net_path(*data, CLASSES, lambdas=around, tolerance=1e-6)
    assert near.nec[0] == 0 < near.nec[-1]
    frequencies = np.bincount(data[1]) / SAMPLES
    np.testing.assert_allclose(jax.nn.softmax(near.biases[0]), frequencies, rtol=1e-4)


def test_padding_and_absent_classes_change_nothing(data, path):
    """Samples without weight, and a class that only they have, leave the same solution."""
    activations, labels = data
    padded = np.concatenate([activations, np.full((40, CONCEPTS), 1e4, np.float32)])
    masked = elastic_net_path(
        padded,
        np.r_[labels, np.full(40, CLASSES, np.int32)],
        CLASSES + 1,
        lambdas=path.lambdas,
        tolerance=1e-6,
        sample_weights=np.r_[np.ones(SAMPLES), np.zeros(40)].astype(np.float32),
    )
    np.testing.assert_allclose(masked.objective, path.objective, rtol=1e-5)
    np.testing.assert_allclose(masked.weights[:, :CLASSES], path.weights, atol=2e-2)
    assert (masked.weights[:, CLASSES] == 0).all() and jnp.isfinite(masked.biases).all()
    logits = activations @ masked.weights[-1].T + masked.biases[-1][None, :]
    assert (jnp.argmax(logits, axis=1) < CLASSES).all()


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_other_mixtures_are_certified_too(data, path, l1_ratio):
    other = elastic_net_path(*data, CLASSES, lambdas=path.lambdas, l1_ratio=l1_ratio)
    assert (other.certificate <= 1e-3).all()
    last = other.weights[-1], other.biases[-1], float(other.lambdas[-1])
    np.testing.assert_allclose(other.objective[-1], objective(data, *last, l1_ratio), rtol=1e-5)


def test_wide_problems_do_without_the_matrix(data, path, monkeypatch):
    monkeypatch.setattr(quadratic_model, "_LARGEST_GRAM", 4)
    # Another shape, or jit would not look again.
    plain = elastic_net_path(data[0][:-1], data[1][:-1], CLASSES, lambdas=path.lambdas[:5])
    assert (plain.certificate <= 1e-3).all()
    whole = elastic_net_path(data[0][:-2], data[1][:-2], CLASSES, lambdas=path.lambdas[:5])
    np.testing.assert_allclose(plain.objective, whole.objective, rtol=1e-2)


def test_one_program_for_many_problems(data, path):
    """vmapped over label noise, as over seeds or variants: each is solved as it is alone."""
    activations, labels = data
    variants = np.stack([labels, np.roll(labels, 7), (labels + 1) % CLASSES])
    lambdas = path.lambdas[:4]

    def solve(labels_N):
        return elastic_net_path(activations, labels_N, CLASSES, lambdas=lambdas, tolerance=1e-5)

    together = jax.vmap(solve)(variants)
    assert (together.certificate <= 1e-5).all()
    for i, variant in enumerate(variants):
        alone = solve(variant)
        np.testing.assert_allclose(together.objective[i], alone.objective, rtol=2e-5)
        np.testing.assert_allclose(together.weights[i], alone.weights, atol=2e-2)


def test_rows_over_devices(data, path):
    mesh = make_mesh(8, 1)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    placed = [jax.device_put(x, rows) for x in data]
    spread = elastic_net_path(*placed, CLASSES, lambdas=path.lambdas, tolerance=1e-5)
    whole = elastic_net_path(*data, CLASSES, lambdas=path.lambdas, tolerance=1e-5)
    np.testing.assert_allclose(spread.objective, whole.objective, rtol=2e-5)
    np.testing.assert_allclose(spread.weights, whole.weights, atol=2e-2)


def test_truncation_keeps_the_largest():
    head = jnp.asarray(np.random.default_rng(0).normal(size=(3, 10)), jnp.float32)
    cut = truncate_to_nec(head, 4)
    assert nec(cut) == 4
    kept = np.asarray(cut) != 0
    assert np.abs(head)[kept].min() > np.abs(head)[~kept].max()
    np.testing.assert_array_equal(np.asarray(cut)[kept], np.asarray(head)[kept])
    np.testing.assert_array_equal(truncate_to_nec(head, 30), head)
    assert nec(truncate_to_nec(jnp.ones((3, 10)), 2)) == 2
