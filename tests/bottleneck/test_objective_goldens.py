"""The released objectives against torch: values and gradients."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.bottleneck.objectives.contrastive import contrastive
from jaxcbm.bottleneck.objectives.gumbel import gumbel
from jaxcbm.bottleneck.objectives.l1 import l1
from jaxcbm.bottleneck.objectives.similarity import similarity
from jaxcbm.bottleneck.objectives.table import OBJECTIVES

GOLDENS = Path(__file__).parents[1] / "goldens" / "objective_goldens.npz"
ADVICE = (
    "the `released` variant left the released code's values; it must not change. If the goldens "
    "are wrong, remake them with tests/goldens/make_objective_goldens.py (needs torch)"
)


@pytest.fixture(scope="module")
def goldens():
    with np.load(GOLDENS) as file:
        return dict(file)


def check(goldens, name, function, x):
    value, gradient = jax.jit(jax.value_and_grad(function))(jnp.asarray(x))
    np.testing.assert_allclose(value, goldens[name], rtol=2e-6, atol=5e-7, err_msg=ADVICE)
    np.testing.assert_allclose(
        gradient, goldens[f"{name}/gradient"], rtol=1e-4, atol=2e-7, err_msg=ADVICE
    )


@pytest.mark.parametrize("shape", ["wide", "tall", "square"])
class TestReleased:
    @pytest.mark.parametrize("variant", ["released", "diagonal"])
    def test_contrastive(self, goldens, shape, variant):
        def on_the_diagonal(z):
            return contrastive(z, variant=variant)

        check(goldens, f"{shape}/contrastive", on_the_diagonal, goldens[f"{shape}/z"])

    @pytest.mark.parametrize("tau", [1.0, 0.5])
    def test_gumbel(self, goldens, shape, tau):
        noise = tuple(
            jnp.asarray(goldens[f"{shape}/{direction}/{tau}"])
            for direction in ("over_rows", "over_columns")
        )

        def released(z):
            return gumbel(z, tau=tau, variant="released", noise=noise)

        check(goldens, f"{shape}/gumbel/{tau}", released, goldens[f"{shape}/z"])

    @pytest.mark.parametrize("cubed", [False, True])
    @pytest.mark.parametrize("variant", ["released", "paired"])
    def test_similarity(self, goldens, shape, cubed, variant):
        psi = jnp.asarray(goldens[f"{shape}/psi"])

        def compared(z):
            return similarity(psi, z, cubed=cubed, variant=variant)

        check(goldens, f"{shape}/similarity/{cubed}", compared, goldens[f"{shape}/z"])


@pytest.mark.parametrize("variant", OBJECTIVES["l1"].variants)
def test_l1(goldens, variant):
    def penalty(W):
        return l1(W, 1e-3, variant=variant)

    assert (goldens["l1/W"] == 0).any(), "the subgradient at 0 would go untested"
    check(goldens, "l1", penalty, goldens["l1/W"])
