import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcbm.bottleneck.minimise import minimise_by_adam


def least_squares(params, batch, context, key):
    inputs, targets = batch
    noise = 0.0 if key is None else context * jax.random.normal(key, targets.shape)
    return jnp.mean((jnp.matmul(inputs, params["w"]) + params["b"] - targets - noise) ** 2)


def problem():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(90, 3)).astype(np.float32)
    targets = (rows @ np.array([1.0, -2.0, 0.5]) + 3).astype(np.float32)
    start = {"w": jnp.zeros(3), "b": jnp.zeros(1)}
    return (rows[:60], targets[:60]), (rows[60:], targets[60:]), start


def fit(**changes):
    train, valid, start = problem()
    settings = {
        "context": np.float32(0),
        "learning_rates": {"w": 0.1, "b": 0.1},
        "rounds": 200,
        "batch_size": 16,
    }
    return minimise_by_adam(least_squares, start, train, valid, **(settings | changes))


def test_it_finds_the_least_squares_solution():
    found = fit()
    np.testing.assert_allclose(found.params["w"], [1.0, -2.0, 0.5], atol=1e-2)
    np.testing.assert_allclose(found.params["b"], [3.0], atol=1e-2)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_full_batch_is_plain_adam(decay):
    """With a decay of what is named, AdamW."""
    train, _, params = problem()
    optimizer = optax.adamw(0.1, weight_decay=decay, mask={"w": True, "b": False})
    state = optimizer.init(params)
    for _ in range(12):
        gradient = jax.grad(least_squares)(params, train, np.float32(0), None)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    found = fit(batch_size=None, rounds=4, passes=3, weight_decays={"w": decay})
    assert found.best_round == 4
    np.testing.assert_allclose(found.params["w"], params["w"], rtol=1e-4)


def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    noisy = {"context": np.float32(0.5)}
    one, again, other = fit(seed=1, **noisy), fit(seed=1, **noisy), fit(seed=2, **noisy)
    np.testing.assert_array_equal(one.params["w"], again.params["w"])
    assert not np.array_equal(one.params["w"], other.params["w"])


def test_the_best_round_on_validation_is_kept():
    found = fit(learning_rates={"w": 3.0, "b": 3.0})
    _, valid, _ = problem()
    kept = least_squares(found.params, valid, np.float32(0), None)
    assert found.valid_losses[found.best_round] == np.nanmin(found.valid_losses)
    assert float(kept) == pytest.approx(float(np.nanmin(found.valid_losses)), rel=1e-5)


def test_a_diverging_fit_returns_its_start():
    found = fit(learning_rates={"w": 1e6, "b": 1e6})
    assert found.best_round == 0
    np.testing.assert_array_equal(found.params["w"], np.zeros(3))


def test_patience_stops_and_leaves_the_rest_unrun():
    found = fit(learning_rates={"w": 1e6, "b": 1e6}, patience=2)
    assert np.isfinite(found.valid_losses).sum() == 3
    assert np.isnan(found.valid_losses[3:]).all()


def test_a_rate_of_zero_freezes_an_entry():
    found = fit(learning_rates={"w": 0.1, "b": 0.0})
    np.testing.assert_array_equal(found.params["b"], [0.0])
    assert np.abs(found.params["w"]).max() > 0.1


def test_a_cosine_takes_the_rates_to_zero():
    """On one number whose gradient has one sign all along, Adam moves by the rate at every step."""
    start, data = {"x": jnp.zeros(())}, jnp.zeros(4)

    def slope(params, batch, context, key):
        return params["x"] + jnp.sum(batch)

    rounds = 50
    moved = {
        decay: minimise_by_adam(
            slope, start, data, data, learning_rates={"x": 0.1}, rounds=rounds, decay=decay
        ).params["x"]
        for decay in (False, True)
    }
    assert moved[False] == pytest.approx(-0.1 * rounds, rel=1e-3)
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(rounds) / rounds))
    assert moved[True] == pytest.approx(-rates.sum(), rel=1e-3)
