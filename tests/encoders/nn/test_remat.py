"""Rematerialised blocks: the same gradients from less memory, in every family."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract_cases import CASES

from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.nn.remat import rematerialise
from jaxcbm.flat_params import merge_flat

# One checkpoint a model: open_clip's is CLIP's.
MODELS = {FAMILIES[case.kind].model: name for name, case in reversed(CASES.items())}


@pytest.fixture(scope="module", params=MODELS.values())
def problem(request, tmp_path_factory):
    """(graph, parameters, inputs by tower)."""
    case = CASES[request.param]
    scratch: Path = tmp_path_factory.mktemp("rematerialise")
    encoder = load_encoder(case.write(scratch / "checkpoint", scratch))
    inputs = dict(zip(("image", "text"), case.inputs(), strict=True))
    return encoder.graph, dict(encoder.params), inputs


def tower_of(problem, tower: str, remat: bool) -> Callable[[dict[str, jax.Array]], jax.Array]:
    graph, _, inputs = problem

    def embed(params):
        module = merge_flat(graph, params)
        if remat:
            rematerialise(module)
        encode = module.encode_image if tower == "image" else module.encode_text
        return encode(inputs[tower], jnp.float32)[0]

    return embed


@pytest.mark.parametrize("tower", ["image", "text"])
def test_gradients_are_the_same(problem, tower):
    params = problem[1]

    def gradients(remat):
        embed = tower_of(problem, tower, remat)

        @jax.jit
        @jax.grad
        def gradient(params):
            embeddings_BxE = embed(params)
            # Of a fixed random direction, since the squares of unit vectors sum to a constant.
            along = np.random.default_rng(0).standard_normal(embeddings_BxE.shape)
            return jnp.sum(embeddings_BxE * jnp.asarray(along, jnp.float32))

        return gradient(params)

    plain, again = gradients(False), gradients(True)
    moved = [path for path in plain if np.any(np.asarray(plain[path]))]
    assert any(".blocks." in path for path in moved)
    for path, want in plain.items():
        scale = max(float(np.abs(want).max()), 1e-2)
        np.testing.assert_allclose(again[path], want, atol=1e-4 * scale, rtol=0, err_msg=path)


@pytest.mark.parametrize("tower", ["image", "text"])
def test_blocks_keep_their_input_and_nothing_else(problem, tower):
    """What the way back holds, weights apart. A CPU's compiler makes little of it; others do."""
    params = problem[1]

    def kept(remat):
        embed = tower_of(problem, tower, remat)
        back = jax.eval_shape(lambda params: jax.vjp(embed, params)[1], params)
        shapes = {tuple(value.shape) for value in params.values()}
        return sum(x.size for x in jax.tree.leaves(back) if x.shape not in shapes)

    assert kept(True) < 0.7 * kept(False)
