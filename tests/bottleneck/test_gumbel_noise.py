"""Noise from half words is as good as full Gumbel noise."""

import jax
import numpy as np
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
