"""One attention for every tower: what it computes, and which kernel computes it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.encoders.nn import attention
from jaxcbm.encoders.nn.attention import attend

B, T, H, F = 2, 6, 3, 8


def inputs(queries: int = T) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and values, float32."""
    random = np.random.default_rng(0)
    return tuple(random.standard_normal((B, n, H, F)).astype(np.float32) for n in (queries, T, T))


SEEN = np.arange(T)[None] < np.array([[T], [T - 2]])
CASES = {
    "all": {},
    "causal": {"causal": True},
    "padded": {"seen_BxT": SEEN},
    "one query": {},
}


def by_definition(q, k, v, causal=False, seen_BxT=None):
    """In float64, one head and one query at a time."""
    out = np.zeros(q.shape)
    for b, s, h in np.ndindex(*q.shape[:3]):
        seen_T = np.ones(T, bool) if seen_BxT is None else seen_BxT[b].copy()
        if causal:
            seen_T[s + 1 :] = False
        weights_T = np.exp(k[b, seen_T, h].astype(np.float64) @ q[b, s, h] / np.sqrt(F))
        out[b, s, h] = weights_T / weights_T.sum() @ v[b, seen_T, h]
    return out


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.03)])
def test_attention_is_what_its_definition_says(name, dtype, tolerance):
    q, k, v = inputs(1 if name == "one query" else T)
    found = jax.jit(partial(attend, dtype=dtype, **CASES[name]))(q, k, v)
    assert found.dtype == dtype
    want = by_definition(q, k, v, **CASES[name])
    np.testing.assert_allclose(found.astype(np.float32), want, atol=tolerance)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_are_those_of_the_softmax(dtype):
    q, k, v = inputs()

    def plainly(q, k, v):
        logits = jnp.einsum("bshf,bthf->bhst", q, k, precision="highest") / np.float32(np.sqrt(F))
        weights = jax.nn.softmax(logits, axis=-1)
        return jnp.einsum("bhst,bthf->bshf", weights, v, precision="highest")

    random = np.random.default_rng(1)
    g = jnp.asarray(random.standard_normal(q.shape), jnp.float32)
    _, back = jax.vjp(lambda *x: attend(*x, dtype=dtype).astype(jnp.float32), q, k, v)
    _, back_plainly = jax.vjp(plainly, q, k, v)
    for found, want in zip(back(g), back_plainly(g), strict=True):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, want, atol=1e-5 if dtype == jnp.float32 else 0.05)


def test_products_of_attention_are_narrow_both_ways():
    q, k, v = inputs()

    def total(*arrays):
        return jnp.sum(attend(*arrays, dtype=jnp.bfloat16).astype(jnp.float32))

    program = jax.jit(jax.grad(total, (0, 1, 2))).lower(q, k, v).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert len(products) == 6
    for line in products:
        operands, result = line.rsplit(" : ", 1)[1].split("->")
        assert operands.count("xbf16>") == 2 and "xf32>" in result


def test_what_the_fused_kernel_takes():
    def fusable(tokens, width, dtype=jnp.bfloat16, masked=False, queries=None):
        queries = tokens if queries is None else queries
        return attention._fusable(dtype, (2, queries, 4, width), (2, tokens, 4, width), masked)

    assert fusable(50, 64) and fusable(257, 128) and fusable(64, 64, masked=True)
    assert not fusable(50, 64, jnp.float32), "it would round float32 operands"
    assert not fusable(50, 12) and not fusable(50, 256)
    assert not fusable(77, 64, masked=True) and not fusable(50, 64, queries=1)
    assert attention._has_fused_kernel() == (jax.default_backend() == "gpu")


@pytest.fixture
def gpu_at_hand(monkeypatch):
    """As if cuDNN were there: enough to compile for a GPU, not to run on one."""
    from jax._src.cudnn import fused_attention_stablehlo

    monkeypatch.setattr(attention, "_has_fused_kernel", lambda: True)
    monkeypatch.setattr(fused_attention_stablehlo, "check_cudnn_version", lambda: 91000)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("back", [False, True])
def test_a_gpu_gets_the_fused_kernel_and_nothing_else_does(name, back, gpu_at_hand):
    def run(q, k, v, dtype):
        # A function of its own each time: jit remembers what it traced before.
        return jnp.sum(attend(q, k, v, dtype=dtype, **CASES[name]).astype(jnp.float32))

    q, k, v = inputs(1 if name == "one query" else T)

    def lowered(platform, dtype):
        function = jax.jit(partial(jax.grad(run) if back else run, dtype=dtype))
        return function.trace(q, k, v).lower(lowering_platforms=(platform,)).as_text()

    # One query is a matter of reading the keys once, which no fusion makes faster.
    assert ("__cudnn$fmha" in lowered("cuda", jnp.bfloat16)) == (name != "one query")
    assert "__cudnn$fmha" not in lowered("cuda", jnp.float32)
    for platform in ("cpu", "tpu"):
        assert "cudnn" not in lowered(platform, jnp.bfloat16)
