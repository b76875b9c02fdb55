"""The encoder as everything else uses it: the same vectors however the work is cut up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image
from random_clip import CAPTIONS, VARIANTS, write_checkpoint

from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.flat_params import merge_flat

PHRASES = [*CAPTIONS, "bird", "", "a crown and a belly and a bill and a wing " * 9]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> DualEncoder:
    scratch = tmp_path_factory.mktemp("scratch")
    folder = write_checkpoint(scratch / "checkpoint", VARIANTS["quick_gelu"], scratch)
    return load_encoder(folder)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (21, 40, 52, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embeddings(encoder, images) -> np.ndarray:
    return encoder.embed_images(images)


def test_vectors_are_unit_norm_float32(encoder, embeddings):
    texts_DxE = encoder.embed_texts(PHRASES)
    for vectors, count in ((embeddings, 21), (texts_DxE, len(PHRASES))):
        assert (vectors.shape, vectors.dtype) == ((count, encoder.embed_dim), np.float32)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.ptp(embeddings, axis=0).max() > 0.01, "pictures differ"
    assert np.ptp(texts_DxE, axis=0).max() > 0.1, "phrases differ"


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_batch_size_does_not_matter(batch_size, encoder, images, embeddings):
    np.testing.assert_allclose(encoder.embed_images(images, batch_size), embeddings, atol=1e-6)


def test_lists_arrays_and_pixels_agree(encoder, images, embeddings):
    pictures = [Image.fromarray(image) for image in images]
    np.testing.assert_array_equal(encoder.embed_images(pictures), embeddings)
    pixels = np.stack([encoder.preprocess(image) for image in images])
    np.testing.assert_array_equal(encoder.embed_pixels(pixels), embeddings)


def test_normalisation_on_the_device_is_the_processors(encoder, images, embeddings):
    pixels = np.stack([encoder.preprocess(image) for image in images[:2]])

    @jax.jit
    def encode(params, normalised_BxSxSx3):
        return merge_flat(encoder.graph, params).encode_image(normalised_BxSxSx3)

    want_BxE, out = encode(dict(encoder.params), encoder.preprocess.normalise(pixels))
    np.testing.assert_allclose(want_BxE, embeddings[:2], atol=1e-6)
    assert {"stem", "block00", "block01", "pooled", "projected"} == out.keys()
    assert out["block01"].shape == (2, 17, 32)


def test_a_phrase_does_not_depend_on_its_company(encoder):
    together = encoder.embed_texts(PHRASES)
    for phrase, vector_E in zip(PHRASES, together, strict=True):
        np.testing.assert_allclose(encoder.embed_texts([phrase])[0], vector_E, atol=1e-6)


def test_short_rows_are_exact(encoder):
    """Rows are cut to a short length; the full context length gives the same vectors."""
    ids_DxT = encoder.tokenizer(PHRASES)
    assert ids_DxT.shape[1] == encoder.tokenizer.context_length
    want_DxE = encoder._text_tower(dict(encoder.params), ids_DxT)
    np.testing.assert_allclose(encoder.embed_texts(PHRASES), want_DxE, atol=1e-6)


def test_text_behind_the_end_is_invisible(encoder):
    """By gradients and not by values: nothing flows back from behind the end of a text."""
    ids_DxT = encoder.tokenizer(["a red bird"])
    end = int(np.argmax(ids_DxT[0] == encoder.tokenizer.end_of_text_id))

    def first_coordinate(positions_TxC):
        params = {**encoder.params, "text.positions": positions_TxC}
        return merge_flat(encoder.graph, params).encode_text(ids_DxT)[0][0, 0]

    gradient_TxC = jax.jit(jax.grad(first_coordinate))(encoder.params["text.positions"])
    by_position_T = np.abs(gradient_TxC).max(axis=1)
    assert np.all(by_position_T[: end + 1] > 0)
    assert np.all(by_position_T[end + 1 :] == 0)


def test_eight_devices_embed_as_one(encoder, images, embeddings):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(8, 1), ("data", "model"))
    spread = encoder.on_mesh(mesh)
    np.testing.assert_allclose(spread.embed_images(images, 6), embeddings, atol=1e-6)
    np.testing.assert_allclose(spread.embed_texts(PHRASES), encoder.embed_texts(PHRASES), atol=1e-6)
    assert len(spread.params["text.tokens"].sharding.device_set) == 8
    assert spread.content_hash == encoder.content_hash


def test_bfloat16_stays_close(encoder, images, embeddings):
    narrow = load_encoder(encoder.name, dtype="bfloat16")
    vectors_NxE = narrow.embed_images(images)
    assert vectors_NxE.dtype == np.float32
    assert np.sum(vectors_NxE * embeddings, axis=1).min() > 0.999
    assert np.abs(vectors_NxE - embeddings).max() > 1e-5, "bfloat16 not used"
    cosines_D = np.sum(narrow.embed_texts(PHRASES) * encoder.embed_texts(PHRASES), axis=1)
    assert cosines_D.min() > 0.999


def test_the_tower_is_compiled_once(encoder, images):
    tower = encoder.image_tower
    before = tower._cache_size()
    encoder.embed_images(images, batch_size=5)
    encoder.embed_images(images[:13], batch_size=5)
    assert tower._cache_size() - before <= 1


def test_scores_are_scaled_cosines(encoder, embeddings):
    texts_DxE = encoder.embed_texts(PHRASES)
    want_NxD = np.exp(3.0) * embeddings @ texts_DxE.T
    scores_NxD = encoder.scores(embeddings, texts_DxE)
    assert scores_NxD.dtype == np.float32
    np.testing.assert_allclose(scores_NxD, want_NxD, rtol=1e-5, atol=1e-5)
    assert (encoder.logit_scale, encoder.logit_bias) == (pytest.approx(np.exp(3.0)), 0.0)


def test_nothing_in_nothing_out(encoder):
    assert encoder.embed_images([]).shape == (0, encoder.embed_dim)
    assert encoder.embed_texts([]).shape == (0, encoder.embed_dim)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((2, 3, 4, 4, 3), np.uint8), r"give uint8 \[N, H, W, 3\]"),
        (np.zeros((2, 3, 40, 52), np.uint8), "move the colours to the end"),
        ("bird.png", "bird.png: No such file"),
        ([b"not a picture"], "bytes: not a picture"),
        ([None], "NoneType is no picture"),
        (7, "int is no picture"),
    ],
)
def test_what_is_no_picture_says_so(images, said, encoder):
    with pytest.raises(UserError, match=said) as caught:
        encoder.embed_images(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["array", "jax", "pil", "list", "file", "bytes"])
def test_a_single_picture_is_a_batch_of_one(how, encoder, images, embeddings, tmp_path):
    file = tmp_path / "picture.png"
    Image.fromarray(images[0]).save(file)
    given = {
        "array": images[0],
        "jax": jnp.asarray(images[0]),
        "pil": Image.fromarray(images[0]),
        "list": [images[0]],
        "file": str(file),
        "bytes": file.read_bytes(),
    }[how]
    np.testing.assert_allclose(encoder.embed_images(given), embeddings[:1], atol=1e-6)


def test_arrays_of_jax_and_grey_ones_are_pictures_too(encoder, images, embeddings):
    vectors = encoder.embed_images(jnp.asarray(images))
    np.testing.assert_array_equal(vectors, embeddings)
    grey = images[..., 0]
    as_colours = encoder.embed_images(np.repeat(grey[..., None], 3, axis=3))
    np.testing.assert_array_equal(encoder.embed_images(grey), as_colours)


def test_one_text_is_one_text(encoder):
    one = encoder.embed_texts("a red bird")
    assert one.shape == (1, encoder.embed_dim)
    np.testing.assert_array_equal(one, encoder.embed_texts(["a red bird"]))
    np.testing.assert_array_equal(one, encoder.embed_texts(text for text in ["a red bird"]))
    with pytest.raises(UserError, match=r"phrases\[1\] is 5"):
        encoder.embed_texts(["a", 5])


def test_an_encoder_says_what_it_is(encoder):
    said = repr(encoder)
    assert encoder.name in said and "32 x 32" in said and len(said) < 300
    assert load_encoder(encoder) is encoder


def test_pixels_of_another_size_are_a_fault(encoder):
    with pytest.raises(ValueError, match="is not uint8"):
        encoder.embed_pixels(np.zeros((2, 30, 30, 3), np.uint8))
