"""One step with the towers inside: what changes its gradients, and what must not."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finetune_problem import make_recipe, make_splits
from jax.sharding import NamedSharding, PartitionSpec

from jaxcbm.data.pixel_batches import pixel_batches, rows_in_order
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.distributed.placement import replicate
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.training.finetune.fit import begin
from jaxcbm.training.finetune.step import (
    embed_concepts,
    embed_images,
    gradients,
    group_optimizer,
    live_maps,
    loss,
)

KEY, TAU = jax.random.key(3), jnp.float32(0.5)
LORA = LoraConfig(rank=2, alpha=4.0, dropout=0.3)


@pytest.fixture(scope="module")
def begun(tiny_encoder_folder):
    recipe = make_recipe(tiny_encoder_folder, lora=LORA, flip=True)
    return begin(*make_splits(recipe.encoder), recipe)


@pytest.fixture(scope="module")
def problem(begun):
    """(what trains, away from its start; what does not; plan; a batch)"""
    rng = np.random.default_rng(0)
    trained = {
        path: np.float32(0.3) * rng.standard_normal(value.shape, np.float32)
        if path.endswith(".b")
        else value
        for path, value in begun.params.items()
    }
    batch = next(
        pixel_batches(begun.splits.train, rows_in_order(len(begun.splits.train.images), 8))
    )
    return trained, begun.fixed, begun.plan, batch


@pytest.fixture(scope="module")
def plain(problem):
    return of(problem)


def of(problem, objective="contrastive", parameterisation="factored", dtype="float32", **finetune):
    """Gradients under other settings; nothing they depend on was made under those."""
    trained, fixed, plan, batch = problem
    config = plan.fit.config
    bottleneck = replace(config.bottleneck, objective=objective, parameterisation=parameterisation)
    plan = plan._replace(
        fit=plan.fit._replace(config=replace(config, bottleneck=bottleneck)),
        finetune=replace(plan.finetune, **finetune),
        dtype=dtype,
    )
    return jax.jit(partial(gradients, plan=plan))(trained, fixed, batch=batch, key=KEY, tau=TAU)[0]


def same(one, other, atol=1e-5):
    assert one.keys() == other.keys()
    for path in one:
        np.testing.assert_allclose(one[path], other[path], atol=atol, rtol=0, err_msg=path)


def test_gradients_through_the_embeddings_are_those_of_the_whole_loss(problem, plain):
    trained, fixed, plan, batch = problem
    noise_key, dropout_key, _ = jax.random.split(KEY, 3)

    def whole(trained, pixels):
        bottleneck = {k: v for k, v in trained.items() if k.split(".")[0] in ("cbl", "head")}
        images = embed_images(trained, fixed, plan, pixels, dropout_key)
        return loss(bottleneck, images, None, fixed, plan, batch, noise_key, TAU)[0]

    assert all(np.any(np.asarray(value)) for value in plain.values())
    unmoved = of(problem, flip=False)
    same(unmoved, jax.jit(jax.grad(whole))(trained, jnp.asarray(batch.pixels)))
    with pytest.raises(AssertionError):
        same(plain, unmoved)


def test_accumulation_equals_the_big_batch(problem, plain):
    """For a loss that compares the images of a batch, too; with dropout and augmentation."""
    same(plain, of(problem, accumulate=4))


def test_rematerialised_gradients_are_the_same(problem, plain):
    same(plain, of(problem, rematerialise=True), atol=1e-6)


def test_rematerialised_blocks_keep_no_activations(problem):
    trained, fixed, plan, batch = problem

    def kept(remat):
        how = plan._replace(finetune=replace(plan.finetune, rematerialise=remat))
        embed = lambda trained: embed_images(trained, fixed, how, batch.pixels)  # noqa: E731
        back = jax.eval_shape(lambda trained: jax.vjp(embed, trained)[1], trained)
        # What the way back holds: weights, and activations of the batch.
        return sum(x.size for x in jax.tree.leaves(back) if x.shape[:1] in ((8,), (8 * 5,)))

    assert kept(True) < 0.5 * kept(False)


@pytest.mark.parametrize("devices, parts", [(8, 1), (4, 2)])
def test_devices_do_not_matter(problem, plain, devices, parts):
    if len(jax.devices()) < devices:
        pytest.skip(f"needs {devices} devices")
    trained, fixed, plan, batch = problem
    mesh = make_mesh(devices=jax.devices()[:devices])
    spread = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
    with jax.set_mesh(mesh):
        placed = replicate(trained, mesh), replicate(fixed, mesh), plan, spread
        same(plain, of(placed, accumulate=parts))


def test_bfloat16_computes_about_the_same_gradients_in_float32(problem, plain):
    narrow = of(problem, dtype="bfloat16")
    assert all(value.dtype == jnp.float32 for value in narrow.values())
    one, other = (
        np.concatenate([np.ravel(tree[path]) for path in sorted(tree)]) for tree in (plain, narrow)
    )
    assert one @ other / np.linalg.norm(one) / np.linalg.norm(other) > 0.99
    assert np.abs(one - other).max() > 1e-5, "bfloat16 not used"


def test_every_group_has_its_own_learning_rate(problem, plain):
    trained, _, plan, _ = problem
    rates = {"cbl": 0.1, "head": 0.2, "lora": 0.0}
    finetune = replace(
        plan.finetune,
        **{name: replace(plan.finetune.cbl, learning_rate=rate) for name, rate in rates.items()},
    )
    optimizer = group_optimizer(finetune, 4)
    updates: Any = optimizer.update(plain, optimizer.init(trained), trained)[0]
    for path, update in updates.items():
        want = -np.float32(rates[path.split(".")[0]]) * np.asarray(plain[path])
        np.testing.assert_allclose(update, want, atol=1e-7, err_msg=path)


@pytest.mark.parametrize("layer", ["factored", "full"])
def test_where_the_text_tower_trains_concepts_are_part_of_the_step(tiny_encoder_folder, layer):
    recipe = make_recipe(
        tiny_encoder_folder, "rules", r"^text\.projection=lora; ^vision\.post=train"
    )
    bottleneck = replace(recipe.config.bottleneck, objective="similarity", parameterisation=layer)
    recipe = recipe._replace(config=replace(recipe.config, bottleneck=bottleneck))
    begun = begin(*make_splits(recipe.encoder), recipe)
    trained, fixed, plan = begun.params, begun.fixed, begun.plan
    concepts_DxE = embed_concepts(trained, fixed, plan)
    # At the start the map made from them is the frozen one.
    for live, frozen in zip(live_maps(fixed, concepts_DxE), (fixed[1], fixed[2]), strict=True):
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), live, frozen)
    batch = next(pixel_batches(begun.splits.train, rows_in_order(30, 8)))
    found = of((trained, fixed, plan, batch), "similarity", layer)
    groups = {path for path in found if path.split(".")[0] in ("lora", "encoder")}
    assert groups == {
        *(f"lora.text.projection.kernel.{end}" for end in "ab"),
        *(f"encoder.vision.post_norm.{end}" for end in ("bias", "scale")),
    }
    # A's gradient is zero while B is.
    assert np.any(found["lora.text.projection.kernel.b"])
    assert not np.any(found["lora.text.projection.kernel.a"])


def test_constants_are_no_part_of_the_step_where_it_is_frozen(problem):
    trained, fixed, plan, _ = problem
    assert fixed.text is None and embed_concepts(trained, fixed, plan) is None
    assert live_maps(fixed, None) == (fixed.input_map, fixed.base_kernel)
