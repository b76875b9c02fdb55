"""What is split over `model`, and what a compiled step does with memory and transfers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.distributed.mesh import make_mesh, shardings_for
from jaxcbm.distributed.placement import place_rows, replicate
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.flat_params import abstract
from jaxcbm.training.config import FitConfig, TrainingConfig
from jaxcbm.training.feeds import compile_epoch
from jaxcbm.training.fit_arrays import Inputs, place_valid, start, start_on
from jaxcbm.training.state import place_state, state_shardings
from jaxcbm.training.step import METRICS, TrainData, ValidData, evaluate, make_plan

WIDE, CLASSES = 65_536, 1000


def inputs_of(width, base=None):
    return Inputs(InputMap(None, jnp.zeros(width)), base)


@pytest.mark.parametrize("layer", ["residual", "full"])
def test_parameters_made_on_the_mesh_are_those_made_in_one_piece(layer):
    mesh, config = make_mesh(2, 4), BottleneckConfig(parameterisation=layer)
    _, whole = start(config, inputs_of(12), 12, 5, seed=3)
    _, split = start_on(mesh, config, inputs_of(12), 12, 5, seed=3)
    assert split["cbl.kernel"].sharding.spec == PartitionSpec(None, "model")
    assert split["head.kernel"].sharding.spec == PartitionSpec("model", None)
    assert split.keys() == whole.keys()
    for path in whole:
        np.testing.assert_allclose(split[path], whole[path], atol=1e-7, rtol=0, err_msg=path)


def test_a_factored_layer_starts_split_as_the_encoders_own_scores():
    base = jnp.asarray(np.random.default_rng(0).standard_normal((6, 8), np.float32))
    config = BottleneckConfig(parameterisation="factored")
    _, split = start_on(make_mesh(2, 4), config, inputs_of(6, base), 8, 5, seed=0)
    assert split["cbl.kernel"].sharding.spec == PartitionSpec(None, "model")
    np.testing.assert_array_equal(split["cbl.kernel"], base)


def test_the_bias_of_a_layer_lies_as_its_concepts_do():
    config = BottleneckConfig(sampler="sigmoid", parameterisation="full")
    _, split = start_on(make_mesh(2, 4), config, inputs_of(12), 12, 5, seed=0)
    assert split["cbl.bias"].sharding.spec == PartitionSpec("model")


def test_sixty_five_thousand_concepts_are_split_with_all_that_belongs_to_them():
    """The residual layer's kernel has 17 GB; nothing is made here but shapes."""
    mesh = make_mesh(1, 8)
    config = FitConfig(bottleneck=BottleneckConfig(parameterisation="residual"))
    shapes = jax.eval_shape(lambda: build_bottleneck(config.bottleneck, WIDE, WIDE, CLASSES)[1])
    bottleneck, _ = build_bottleneck(config.bottleneck, 8, 8, CLASSES)
    plan = make_plan(bottleneck, config, 1_000_000)
    shardings = state_shardings(plan, shapes, mesh)
    state = jax.eval_shape(lambda params: plan.optimizer.init(params), shapes)
    large = [
        (leaf, sharding)
        for leaf, sharding in zip(
            jax.tree.leaves(state), jax.tree.leaves(shardings.opt_state), strict=True
        )
        if leaf.size >= WIDE * CLASSES
    ]
    assert len(large) == 4  # two moments of each kernel
    for leaf, sharding in large:
        assert np.prod(sharding.shard_shape(leaf.shape)) * 8 == leaf.size


def test_towers_are_split_in_pairs_and_their_adapters_with_them():
    mesh = make_mesh(1, 8)
    _, towers = abstract(
        lambda: FAMILIES["clip"].model(ClipConfig.tiny(vocab_size=64), rngs=nnx.Rngs(0))
    )
    block = "vision.blocks.0"
    shapes = {
        **towers,
        f"lora.{block}.attn.q.kernel.a": jax.ShapeDtypeStruct((64, 2), "float32"),
        f"lora.{block}.attn.q.kernel.b": jax.ShapeDtypeStruct((2, 64), "float32"),
        f"lora.{block}.mlp.down.kernel.a": jax.ShapeDtypeStruct((64, 2), "float32"),
    }
    spec = {path: tuple(s.spec) for path, s in shardings_for(shapes, mesh).items()}
    assert spec[f"{block}.attn.q.kernel"] == spec[f"{block}.mlp.up.kernel"] == (None, "model")
    assert spec[f"{block}.attn.out.kernel"] == spec[f"{block}.mlp.down.kernel"] == ("model", None)
    assert spec[f"{block}.mlp.up.bias"] == ("model",)
    assert spec[f"lora.{block}.attn.q.kernel.a"] == (None, None)
    assert spec[f"lora.{block}.attn.q.kernel.b"] == (None, "model")
    assert spec[f"lora.{block}.mlp.down.kernel.a"] == ("model", None)
    assert spec[f"{block}.norm1.scale"] == (None,)
    split = sum(v.size for path, v in towers.items() if "model" in spec[path])
    assert split > 0.9 * sum(v.size for v in towers.values())


@pytest.fixture
def problem():
    mesh = make_mesh(2, 4)
    config = FitConfig(training=TrainingConfig(epochs=2, batch_size=5))
    bottleneck, params = build_bottleneck(config.bottleneck, 8, 8, 3)
    plan = make_plan(bottleneck, config, 23)
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((23, 8), np.float32), rng.integers(0, 3, 23).astype(np.int32)
    data = TrainData(place_rows(rows, mesh), place_rows(labels, mesh))
    return mesh, plan, params, data, (rows, labels)


def test_the_epoch_overwrites_its_state_and_transfers_nothing(problem):
    mesh, plan, params, data, _ = problem
    shardings = state_shardings(plan, params, mesh)
    state = place_state(plan, params, shardings)
    key = replicate(jax.random.key(0), mesh)
    with jax.set_mesh(mesh):
        epoch = compile_epoch(plan, shardings, mesh)
        totals = replicate({name: jnp.zeros(()) for name in METRICS}, mesh)
        memory = epoch.lower(state, totals, data, key).compile().memory_analysis()
        per_device = sum(
            np.prod(sharding.shard_shape(leaf.shape)) * 4
            for leaf, sharding in zip(
                jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True
            )
        )
        assert memory.alias_size_in_bytes >= 0.9 * per_device
        with jax.transfer_guard("disallow"):
            new, _ = epoch(state, totals, data, key)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((new, data, params)))


def test_the_guard_sees_an_argument_that_was_never_placed(problem):
    mesh, plan, params, data, _ = problem
    shardings = state_shardings(plan, params, mesh)
    state = place_state(plan, params, shardings)
    with (
        jax.set_mesh(mesh),
        jax.transfer_guard("disallow"),
        pytest.raises(Exception, match="isallowed"),
    ):
        totals = replicate({name: jnp.zeros(()) for name in METRICS}, mesh)
        compile_epoch(plan, shardings, mesh)(state, totals, data, np.zeros(2, np.uint32))


def test_validation_block_by_block_is_that_of_the_whole(problem, monkeypatch):
    mesh, plan, params, _, (rows, labels) = problem
    valid = place_valid(ValidData(rows, labels, np.ones(23, np.float32)), mesh)
    placed = replicate(params, mesh)
    with jax.set_mesh(mesh):
        whole = evaluate(placed, valid, None, plan=plan)
        identity = InputMap(replicate(jnp.eye(8), mesh), replicate(jnp.zeros(8), mesh))
        mapped = evaluate(placed, valid, identity, plan=plan)
        monkeypatch.setattr("jaxcbm.training.step._SCORES_AT_ONCE", 8 * 5)
        blocks = evaluate(placed, valid, None, plan=plan)
    for other in (mapped, blocks):
        for name in whole:
            np.testing.assert_allclose(other[name], whole[name], rtol=1e-5)
    assert float(whole["count"]) == 23
