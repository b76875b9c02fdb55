"""Noise from half words is as good as full Gumbel noise."""

import jax
import numpy as np
import pytest
from scipy.stats import gumbel_r, kstest

from jaxcbm.bottleneck.gumbel_noise import gumbel_pair


def test_both_halves_are_gumbel_and_independent():
    one, other = (np.asarray(x).ravel() for x in gumbel_pair(jax.random.key(3), (200, 250)))
    for sample in (one, other):
        assert np.isfinite(sample).all()
        assert kstest(sample, gumbel_r.cdf).statistic < 0.01
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    # Independent beyond the mean: the share of pairs above both medians is a quarter.
    both = (one > np.median(one)) & (other > np.median(other))
    assert abs(both.mean() - 0.25) < 0.01


def test_the_key_alone_decides():
    first, again = (gumbel_pair(jax.random.key(0), (3, 5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(gumbel_pair(jax.random.key(1), (3, 5)))).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_the_largest_of_many_is_gumbel_too(axis):
    """The maximum of D standard Gumbel variables, less ln D, is one again.

    Of 16 bits alone it would never exceed 0.69, which it does four times in ten.
    """
    count = 65_536
    shape = (count, 64) if axis == 0 else (64, count)
    for noise in gumbel_pair(jax.random.key(5), shape):
        largest = np.asarray(noise.max(axis=axis)) - np.log(count)
        # One in a thousand samples of 64 lies farther off.
        assert kstest(largest, gumbel_r.cdf).statistic < 0.24


def test_the_ends_of_16_bits_are_split_evenly():
    """Above the 16 uppermost values of a half, frequencies are as they must be."""
    draws = [np.asarray(x).ravel() for x in gumbel_pair(jax.random.key(7), (1000, 4000))]
    for noise in draws:
        # v = 1 - F(g), uniform; below 16 / 2^16 it has more than 16 bits.
        v = -np.expm1(-np.exp(-noise[noise > 8.0].astype(np.float64)))
        tail = v[v < 2.0**-12] * 2.0**12
        assert len(tail) == pytest.approx(4e6 * 2.0**-12, abs=5 * 31)
        assert kstest(tail, "uniform").statistic < 0.065
        assert len(np.unique(tail)) > 0.95 * len(tail)
