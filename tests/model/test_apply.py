"""`Model.apply`: one pure function, which JAX can compile, batch, differentiate and spread."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.finetune.finetuned import FinetunedWeights, apply_finetuned
from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.encoders.load import load_encoder
from jaxcbm.model.model import load_model
from jaxcbm.model.random_model import random_model

PIXELS = np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tiny_encoder_folder):
    return random_model(load_encoder(tiny_encoder_folder))


@pytest.fixture(scope="module")
def plain(model):
    return jax.device_get(model.apply(model.weights, PIXELS))


def same(one, other, atol=1e-5):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=atol)


def logit(model, weights, pixels):
    """Of the first class, mean over the pictures."""
    return model.apply(weights, pixels).class_logits[:, 0].mean()


def test_it_says_what_predict_says(model, plain):
    predicted = model.predict(PIXELS)
    same(plain, predicted)
    assert plain.labels == predicted.labels and len(set(plain.labels)) > 1
    assert plain.label_ids.dtype == np.int32


def test_compiled_it_says_the_same_and_returns_a_prediction(model, plain):
    out = jax.jit(model.apply)(model.weights, PIXELS)
    same(out, plain)
    assert out.labels == plain.labels and out.classes == model.classes
    assert isinstance(out.class_logits, jax.Array)
    np.testing.assert_allclose(out.class_probabilities, plain.class_probabilities, rtol=1e-5)
    np.testing.assert_allclose(out.evidence, plain.evidence, rtol=1e-5, atol=1e-5)


def test_labels_can_be_read_within_a_compiled_function(model, plain):
    ids = jax.jit(lambda weights, pixels: model.apply(weights, pixels).label_ids)
    np.testing.assert_array_equal(ids(model.weights, PIXELS), plain.label_ids)


def test_floats_of_the_same_range_are_the_same_pixels(model, plain):
    same(model.apply(model.weights, PIXELS.astype(np.float32)), plain)


def test_vmap_over_several_views_and_over_several_weights(model, plain):
    views = np.stack([PIXELS[:4], PIXELS[4:]])
    out = jax.vmap(model.apply, in_axes=(None, 0))(model.weights, views)
    assert out.class_logits.shape == (2, 4, 3)
    same(jax.tree.map(lambda x: x.reshape(8, *x.shape[2:]), out), plain)
    heads = jnp.stack([model.weights["bottleneck.head.kernel"] * factor for factor in (1.0, 0.0)])
    axes = {name: None for name in model.weights} | {"bottleneck.head.kernel": 0}
    many = {**model.weights, "bottleneck.head.kernel": heads}
    out = jax.vmap(model.apply, in_axes=(axes, None))(many, PIXELS)
    same(out.class_logits[0], plain.class_logits)
    assert np.ptp(out.class_logits[1], axis=0).max() == 0.0


def test_gradients_of_pixels_are_those_of_finite_differences(model):
    pixels = jnp.asarray(PIXELS[:2], jnp.float32)
    gradient = np.asarray(jax.grad(lambda x: logit(model, model.weights, x))(pixels))
    assert np.isfinite(gradient).all() and gradient.any()
    direction = np.random.default_rng(2).standard_normal(pixels.shape).astype(np.float32)
    high, low = (logit(model, model.weights, pixels + step * direction) for step in (2.0, -2.0))
    assert np.vdot(gradient, direction) == pytest.approx(float(high - low) / 4.0, rel=0.02)


def test_gradients_of_weights_are_those_of_finite_differences(model):
    gradients = jax.grad(lambda weights: logit(model, weights, PIXELS[:2]))(model.weights)
    assert gradients.keys() == model.weights.keys()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    rng = np.random.default_rng(3)
    # Upwards in every weight, so that none can make up for another one.
    directions = {
        name: np.sign(gradient) * rng.random(gradient.shape, np.float32)
        for name, gradient in gradients.items()
    }
    high, low = (
        logit(
            model,
            {name: x + step * directions[name] for name, x in model.weights.items()},
            PIXELS[:2],
        )
        for step in (1e-4, -1e-4)
    )
    slope = sum(np.vdot(gradients[name], directions[name]) for name in gradients)
    assert slope == pytest.approx(float(high - low) / 2e-4, rel=0.02)
    unread = {name for name, gradient in gradients.items() if not np.any(gradient)}
    # The encoder's own scores alone come from the embeddings, and no logit from them.
    assert unread == {"concept_embeddings"}


def test_shard_map_spreads_it_over_eight_devices(model, plain):
    mesh = make_mesh()
    spread = jax.shard_map(model.apply, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"))
    out = jax.jit(spread)(model.weights, PIXELS)
    same(out, plain)
    assert len(out.class_logits.sharding.device_set) == 8


def test_weights_may_be_asked_for_first_within_a_trace(model, plain):
    fresh = dataclasses.replace(model, encoder=dataclasses.replace(model.encoder))
    same(jax.jit(lambda pixels: fresh.apply(fresh.weights, pixels))(PIXELS), plain)
    same(fresh.apply(fresh.weights, PIXELS), plain)


def test_pixels_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match=r"\(2, 20, 20, 3\): give \[B, 16, 16, 3\]"):
        model.apply(model.weights, np.zeros((2, 20, 20, 3), np.uint8))


def test_adapters_are_folded_into_kernels_once(model, tiny_encoder_folder, tmp_path):
    encoder = load_encoder(tiny_encoder_folder)
    path = "vision.blocks.0.attn.q.kernel"
    rows, columns = encoder.params[path].shape
    rng = np.random.default_rng(4)
    lora = {
        f"lora.{path}.a": rng.standard_normal((rows, 2)).astype(np.float32),
        f"lora.{path}.b": rng.standard_normal((2, columns)).astype(np.float32),
    }
    finetuned = FinetunedWeights(encoder.name, encoder.content_hash, LoraConfig(rank=2), lora)
    own = apply_finetuned(encoder, finetuned)
    tuned = dataclasses.replace(
        model, encoder=own, encoder_hash=own.content_hash, finetuned=finetuned
    )
    tuned.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert not any("lora" in name for name in loaded.weights)
    assert loaded.weights.keys() == model.weights.keys()
    same(loaded.apply(loaded.weights, PIXELS), tuned.predict(PIXELS))
    moved = loaded.weights[f"encoder.{path}"] - model.weights[f"encoder.{path}"]
    assert np.linalg.matrix_rank(np.asarray(moved), tol=1e-4) == 2
