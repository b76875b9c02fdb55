"""Towers at other resolutions: torch's embeddings when asked for, an error otherwise."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import random_siglip
from random_clip import VARIANTS, write_checkpoint

from jaxcbm.encoders.checkpoint.resolution import bicubic_weights
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.flat_params import merge_flat

GOLDENS = Path(__file__).parents[2] / "goldens" / "resolution.npz"
SIZES = (24, 36, 72)  # the checkpoints' own is 32 in patches of 8


def noise(size: int) -> np.ndarray:
    """Normalised pixels float32 [2, size, size, 3]."""
    return np.random.RandomState(size).standard_normal((2, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    scratch = tmp_path_factory.mktemp("resolution")
    return {
        "clip": write_checkpoint(scratch / "clip", VARIANTS["quick_gelu"], scratch),
        "siglip": random_siglip.write_checkpoint(scratch / "siglip", "tanh_gelu"),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_embeddings_equal_torchs(family, size, folders):
    encoder = load_encoder(folders[family], image_size=size)
    assert encoder.image_size == size

    @jax.jit
    def tower(params, pixels_BxSxSx3):
        return merge_flat(encoder.graph, params).encode_image(pixels_BxSxSx3)[0]

    ours_BxE = tower(dict(encoder.params), noise(size))
    with np.load(GOLDENS) as goldens:
        np.testing.assert_allclose(ours_BxE, goldens[f"{family}.{size}"], atol=5e-6)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_pictures_are_made_at_the_size_asked_for(family, folders):
    encoder = load_encoder(folders[family], image_size=48)
    assert encoder.preprocess.output_size == (48, 48)
    picture = np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8)
    assert encoder.embed_images([picture]).shape == (1, encoder.embed_dim)
    own, same = load_encoder(folders[family]), load_encoder(folders[family], image_size=32)
    assert same.content_hash == own.content_hash != encoder.content_hash
    assert list(same.params) == list(own.params) == list(encoder.params)


def test_interpolation_is_exact_where_it_must_be():
    """Rows sum to one, ends mirror each other, and nothing changes where nothing is asked for."""
    for before, after in ((4, 7), (7, 4), (1, 3), (24, 7)):
        weights_NxO = bicubic_weights(before, after)
        np.testing.assert_allclose(weights_NxO.sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(weights_NxO[::-1, ::-1], weights_NxO, atol=1e-12)
    np.testing.assert_array_equal(bicubic_weights(5, 5), np.eye(5))
    # Half-way between two samples, by hand: a = -0.75 gives a/8 outside and (4 - a)/8 inside.
    np.testing.assert_allclose(
        bicubic_weights(8, 4)[1], [0, *np.array([-3, 19, 19, -3]) / 32, 0, 0, 0]
    )


@pytest.mark.parametrize("size", [0, 7, 32.0, "32"])
def test_sizes_that_are_none_say_so(size, folders):
    with pytest.raises(UserError, match=r"image_size .*at least 8"):
        load_encoder(folders["clip"], image_size=size)


def test_another_size_unasked_for_is_an_error(folders, tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in folders["clip"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 48, "crop_size": 48}))
    with pytest.raises(UserError, match=r"48 x 48 pixels but .* 32.*image_size="):
        load_encoder(folder)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["image_size"] = 48
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"position_embedding\.weight \[17, 32\] instead of \[37"):
        load_encoder(folder)
    encoder = load_encoder(folders["clip"])
    with pytest.raises(ValueError, match="is not uint8"):
        encoder.embed_pixels(np.zeros((1, 48, 48, 3), np.uint8))
