"""What a tower says about places: the last step that mixes them, looking at one place alone."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from contract_cases import CASES
from scipy.special import erf, expit

from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.flat_params import merge_flat

PICTURES = np.random.RandomState(5).randint(0, 256, (3, 40, 52, 3)).astype(np.uint8)
FIRST = {case.kind: name for name, case in reversed(CASES.items())}
ACTIVATIONS = {
    "quick_gelu": lambda x: x * expit(1.702 * x),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "gelu_pytorch_tanh": lambda x: (
        x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    ),
}


@pytest.fixture(scope="module")
def encoder_of(tmp_path_factory):
    def load(kind: str) -> DualEncoder:
        folder = tmp_path_factory.mktemp(kind)
        return load_encoder(CASES[FIRST[kind]].write(folder / "made", folder))

    return load


def intermediates(encoder: DualEncoder, params, pixels: np.ndarray):
    return merge_flat(encoder.graph, params).encode_image(jnp.asarray(pixels), jnp.float32)


def dense(encoder: DualEncoder, params, pixels: np.ndarray) -> np.ndarray:
    return np.asarray(merge_flat(encoder.graph, params).encode_patches(jnp.asarray(pixels)))


def pixels_of(encoder: DualEncoder) -> np.ndarray:
    size = (3, encoder.image_size, encoder.image_size, 3)
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


def weights(encoder: DualEncoder, prefix: str) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): np.asarray(value, np.float64)
        for name, value in encoder.params.items()
        if name.startswith(prefix)
    }


def linear(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.kernel"] + w.get(f"{name}.bias", 0.0)


def norm(w: dict[str, np.ndarray], name: str, x: np.ndarray, eps: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return scaled * w[f"{name}.scale"] + w[f"{name}.bias"]


def mlp(w: dict[str, np.ndarray], x: np.ndarray, kind: str) -> np.ndarray:
    return linear(w, "mlp.down", ACTIVATIONS[kind](linear(w, "mlp.up", x)))


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", ["clip", "open_clip", "altclip"])
def test_clip_by_hand_from_the_weights(encoder_of, kind):
    encoder = encoder_of(kind)
    config, pixels = encoder.config.vision, pixels_of(encoder)
    _, out = intermediates(encoder, dict(encoder.params), pixels)
    x = np.asarray(out[f"block{config.layers - 2:02d}"], np.float64)
    w, top = weights(encoder, f"vision.blocks.{config.layers - 1}."), weights(encoder, "vision.")
    values = linear(w, "attn.out", linear(w, "attn.v", norm(w, "norm1", x[:, 1:], config.eps)))
    state = x[:, :1] + values
    state = state + mlp(w, norm(w, "norm2", state, config.eps), config.activation)
    expected = unit(linear(top, "projection", norm(top, "post_norm", state, config.eps)))
    found = dense(encoder, dict(encoder.params), pixels)
    assert found.shape == (3, config.grid, config.grid, encoder.embed_dim)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-5)


def test_siglip_by_hand_from_the_weights(encoder_of):
    encoder = encoder_of("siglip")
    config, pixels = encoder.config.vision, pixels_of(encoder)
    _, out = intermediates(encoder, dict(encoder.params), pixels)
    x = np.asarray(out[f"block{config.layers - 1:02d}"], np.float64)
    w, head = weights(encoder, "vision."), weights(encoder, "vision.head.")
    qkv = linear(head, "qkv", norm(w, "post_norm", x, config.eps))
    state = linear(head, "out", qkv[..., -config.width :])
    state = state + mlp(head, norm(head, "norm", state, config.eps), config.activation)
    found = dense(encoder, dict(encoder.params), pixels)
    np.testing.assert_allclose(found.reshape(state.shape), unit(state), atol=2e-5)


def test_a_convolutional_tower_says_what_it_pools(encoder_of):
    encoder = encoder_of("align")
    pixels = pixels_of(encoder)
    _, out = intermediates(encoder, dict(encoder.params), pixels)
    last = np.asarray(out[max(name for name in out if name.startswith("block"))])
    found = dense(encoder, dict(encoder.params), pixels)
    np.testing.assert_allclose(found, unit(last), atol=2e-5)


def test_clip_says_of_a_place_what_it_says_of_the_picture_where_all_tokens_give_the_same(
    encoder_of,
):
    encoder = encoder_of("clip")
    last = f"vision.blocks.{encoder.config.vision.layers - 1}.attn.v"
    # Of no kernel and a bias: attention gathers the same wherever it looks.
    bias = jnp.asarray(np.random.default_rng(1).normal(size=encoder.config.vision.width), "f4")
    kernel = jnp.zeros_like(encoder.params[f"{last}.kernel"])
    params = {**encoder.params, f"{last}.kernel": kernel, f"{last}.bias": bias}
    pixels = pixels_of(encoder)
    whole, _ = intermediates(encoder, params, pixels)
    places = dense(encoder, params, pixels)
    np.testing.assert_allclose(
        places, np.broadcast_to(np.asarray(whole)[:, None, None], places.shape), atol=1e-5
    )
    assert np.abs(dense(encoder, dict(encoder.params), pixels) - places).max() > 1e-2


def test_siglip_says_of_a_place_what_it_says_of_the_picture_where_all_places_are_alike(encoder_of):
    encoder = encoder_of("siglip")
    positions = jnp.zeros_like(encoder.params["vision.positions"])
    params = {**encoder.params, "vision.positions": positions}
    pixels = np.broadcast_to(pixels_of(encoder)[:, :1, :1], pixels_of(encoder).shape)
    whole, _ = intermediates(encoder, params, pixels)
    places = dense(encoder, params, pixels)
    np.testing.assert_allclose(
        places, np.broadcast_to(np.asarray(whole)[:, None, None], places.shape), atol=1e-5
    )


@pytest.mark.parametrize("kind", FIRST)
def test_places_of_pictures_are_those_of_their_pixels_however_they_are_cut(encoder_of, kind):
    encoder = encoder_of(kind)
    found = encoder.embed_patches(PICTURES)
    assert found.dtype == np.float32 and found.shape[-1] == encoder.embed_dim
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, rtol=1e-5)
    one_by_one = [encoder.embed_patches(picture, batch_size=1)[0] for picture in PICTURES]
    np.testing.assert_allclose(found, one_by_one, atol=1e-5)
    how = partial(np.asarray, dtype=np.float32)
    pixels = np.stack([encoder.preprocess(picture) for picture in PICTURES])
    normalised = (how(pixels) * encoder.preprocess.scale - how(encoder.preprocess.mean)) / how(
        encoder.preprocess.std
    )
    expected = dense(encoder, dict(encoder.params), normalised)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert encoder.embed_patches([]).size == 0
