"""The layers: activations by name, products in the compute type both ways, and flat parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import special

from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import make_clip
from jaxcbm.encoders.nn.layers import ACTIVATIONS, unit_norm
from jaxcbm.encoders.nn.matmul import matmul
from jaxcbm.flat_params import abstract, merge_flat, split_flat

X = np.linspace(-6, 6, 101)
# By definition and in float64. Two of them differ by less than any tolerance on an embedding.
DEFINITIONS = {
    "quick_gelu": X * special.expit(1.702 * X),
    "gelu": X * special.ndtr(X),
    "gelu_python": X * special.ndtr(X),
    "gelu_new": 0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))),
    "gelu_fast": 0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))),
    "gelu_pytorch_tanh": 0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3))),
    "relu": np.maximum(X, 0),
    "silu": X * special.expit(X),
    "swish": X * special.expit(X),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_their_name_says(name):
    ours = ACTIVATIONS[name](jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(ours, DEFINITIONS[name], atol=2e-6)


def test_bfloat16_products_are_narrow_both_ways():
    """Operands in bfloat16, sums in float32, forwards and backwards: what matrix units take."""
    x_MxK, w_KxN = jnp.ones((3, 4)), jnp.ones((4, 5))
    program = jax.make_jaxpr(
        jax.grad(lambda x, w: jnp.sum(matmul(x, w, jnp.bfloat16)), argnums=(0, 1))
    )(x_MxK, w_KxN)
    products = [line for line in str(program).splitlines() if "dot_general[" in line]
    assert len(products) >= 3
    assert all(":f32[" in line for line in products)
    assert str(program).count("preferred_element_type=float32") == len(products)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.03)])
def test_gradients_of_products(dtype, tolerance):
    random = np.random.default_rng(0)
    x_MxK = random.standard_normal((6, 8)).astype(np.float32)
    w_KxN = random.standard_normal((8, 5)).astype(np.float32)
    g_MxN = random.standard_normal((6, 5)).astype(np.float32)
    _, pull = jax.vjp(lambda x, w: matmul(x, w, dtype), x_MxK, w_KxN)
    dx_MxK, dw_KxN = pull(jnp.asarray(g_MxN))
    assert dx_MxK.dtype == dw_KxN.dtype == jnp.float32
    np.testing.assert_allclose(dx_MxK, g_MxN @ w_KxN.T, atol=tolerance * 5)
    np.testing.assert_allclose(dw_KxN, x_MxK.T @ g_MxN, atol=tolerance * 5)


def test_zero_has_no_direction_and_a_finite_gradient():
    gradient = jax.grad(lambda x: jnp.sum(unit_norm(x)))(jnp.zeros((2, 3)))
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(unit_norm(jnp.zeros((2, 3))), 0)


CONFIG = ClipConfig.tiny(
    vocab_size=64, image_size=16, width=32, layers=2, text_layers=1, context_length=8, embed_dim=16
)


@pytest.fixture(scope="module")
def taken_apart() -> tuple[nnx.GraphDef, dict[str, jax.Array]]:
    graph, _ = abstract(lambda: make_clip(CONFIG, rngs=nnx.Rngs(0)))
    return graph, jax.jit(lambda: split_flat(make_clip(CONFIG, rngs=nnx.Rngs(0)))[1])()


def test_parameters_survive_being_taken_apart(taken_apart):
    graph, params = taken_apart
    shapes = abstract(lambda: make_clip(CONFIG, rngs=nnx.Rngs(0)))[1]
    assert {n: (a.shape, a.dtype) for n, a in params.items()} == {
        n: (a.shape, a.dtype) for n, a in shapes.items()
    }
    assert "vision.blocks.1.attn.q.kernel" in params
    # In any order, put together and taken apart again: the same names, arrays and graph.
    graph_again, again = split_flat(merge_flat(graph, dict(reversed(params.items()))))
    assert graph_again == graph
    assert list(again) == list(shapes)
    assert all(again[name] is params[name] for name in params)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_fresh_model_learns(dtype, taken_apart):
    """Pairs of noise are told apart after a few steps, and every parameter takes part."""
    graph, params = taken_apart
    random = np.random.default_rng(0)
    pixels_BxSxSx3 = random.standard_normal((8, 16, 16, 3)).astype(np.float32)
    ids_BxT = random.integers(0, 62, (8, 8)).astype(np.int32)
    ids_BxT[:, -1] = 63

    @jax.jit
    @jax.value_and_grad
    def loss(params):
        model = merge_flat(graph, params)
        images_BxE, _ = model.encode_image(pixels_BxSxSx3, dtype)
        texts_BxE, _ = model.encode_text(ids_BxT, dtype)
        logits_BxB = jnp.exp(model.logit_scale[...]) * images_BxE @ texts_BxE.T
        return -jnp.mean(jnp.diagonal(jax.nn.log_softmax(logits_BxB, axis=-1)))

    first, gradients = loss(params)
    # A key's bias moves every logit of a query alike, so softmax never sees it.
    idle = {n for n, g in gradients.items() if not np.any(np.abs(g) > 1e-9)}
    assert idle <= {n for n in params if n.endswith("attn.k.bias")}
    for _ in range(25):
        _, gradients = loss(params)
        params = {n: p - np.float32(3e-3) * np.sign(gradients[n]) for n, p in params.items()}
    last, _ = loss(params)
    assert last < 0.3 * first
