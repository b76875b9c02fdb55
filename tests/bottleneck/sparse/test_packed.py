"""Only the non-zero weights of a path are kept, and all of it comes back."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.bottleneck.sparse.packed import pack
from jaxcbm.bottleneck.sparse.path import SparsePath


def some_path(heads: int, classes: int, concepts: int, share: float, seed: int) -> SparsePath:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(heads, classes, concepts)).astype(np.float32)
    weights *= rng.random(weights.shape) < share
    biases = rng.normal(size=(heads, classes)).astype(np.float32)
    numbers = [rng.random(heads).astype(np.float32) for _ in range(5)]
    return SparsePath(*map(jnp.asarray, (numbers[0], weights, biases, *numbers[1:])))


@given(
    *(st.integers(1, 5), st.integers(1, 4), st.integers(1, 7)),
    *(st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99)),
)
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost(heads, classes, concepts, share, seed):
    path = some_path(heads, classes, concepts, share, seed)
    packed = pack(path)
    assert len(packed.values) == np.count_nonzero(path.weights)
    for one, other in zip(packed.unpack(concepts), path, strict=True):
        np.testing.assert_array_equal(one, other)
    last = packed.unpack(concepts, [heads - 1])
    np.testing.assert_array_equal(last.weights[0], path.weights[-1])
    np.testing.assert_array_equal(last.nec, path.nec[-1:])


def test_a_sparse_path_is_small_and_many_concepts_have_their_columns():
    path = some_path(2, 3, 70_000, 0.001, 0)
    packed = pack(path)
    assert sum(part.nbytes for part in packed) < path.weights.nbytes / 100
    np.testing.assert_array_equal(packed.head(1, 70_000), path.weights[1])
