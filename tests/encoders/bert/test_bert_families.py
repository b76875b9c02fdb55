"""AltCLIP and ALIGN beyond the contract: what a port of their towers gets wrong."""

import copy
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from random_bert_families import (
    VARIANTS,
    pad_id_of,
    random_inputs,
    write_checkpoint,
)

from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder
from jaxcbm.flat_params import abstract, merge_flat

GOLDENS = Path(__file__).parents[2] / "goldens"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {
        name: load_encoder(write_checkpoint(root / name, config))
        for name, config in VARIANTS.items()
    }


def golden(variant: str, kind: str) -> np.ndarray:
    with np.load(GOLDENS / f"{VARIANTS[variant]['model_type']}.npz") as file:
        return file[f"{variant}.{kind}"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_equal_torch(variant, encoders):
    """ALIGN divides by a temperature where the others multiply by a scale."""
    ours_NxD = encoders[variant].scores(golden(variant, "image"), golden(variant, "text"))
    np.testing.assert_allclose(ours_NxD, golden(variant, "scores"), atol=2e-5)


# Each is a mistake that a port can make; the goldens must tell every one from the truth.
MISTAKES = {
    "altclip positions from 0": ("altclip", "text", {"after_padding": False}),
    "altclip guessed heads": ("altclip_tanh", "text", {"heads": 3}),
    "altclip default epsilon": ("altclip_tanh", "text", {"eps": 1e-5}),
    "altclip erf for tanh": ("altclip_tanh", "text", {"activation": "gelu"}),
    "altclip tanh for erf": ("altclip", "text", {"activation": "gelu_new"}),
    "altclip padding seen": ("altclip", "text", {"pad_id": 89, "after_padding": False}),
    "altclip quick gelu": ("altclip_tanh", "image", {"activation": "quick_gelu"}),
    "align padding seen": ("align", "text", {"pad_id": 89}),
    "align positions past padding": ("align_max", "text", {"after_padding": True}),
    "align default epsilon": ("align_max", "text", {"eps": 1e-12}),
    "align symmetric padding": ("align", "image", {"depthwise_padding": (0, 1, 2, 3)}),
    "align no listed padding": ("align_max", "image", {"depthwise_padding": ()}),
    "align mean for max": ("align_max", "image", {"pooling_type": "mean"}),
    "align batch norm epsilon": ("align_max", "image", {"batch_norm_eps": 1e-3}),
    "align tanh for erf": ("align_max", "image", {"hidden_act": "gelu_new"}),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_goldens_tell_mistakes_apart(mistake, encoders):
    variant, kind, change = MISTAKES[mistake]
    encoder = encoders[variant]
    tower = "text" if kind == "text" else "vision"
    config = replace(encoder.config, **{tower: replace(getattr(encoder.config, tower), **change)})
    family = FAMILIES[encoder.family]
    graph, _ = abstract(lambda: family.model(config, rngs=nnx.Rngs(0)))
    pixels, ids = random_inputs(VARIANTS[variant])

    @jax.jit
    def embed(params):
        model = merge_flat(graph, params)
        return (model.encode_text(ids) if kind == "text" else model.encode_image(pixels))[0]

    off = np.abs(np.asarray(embed(dict(encoder.params))) - golden(variant, kind)).max()
    assert off > 3e-5


@pytest.mark.parametrize("variant", ["altclip", "align"])
def test_padding_is_invisible(variant, encoders):
    """By gradients and not by values: nothing flows back from what fills a row up."""
    encoder, pad_id = encoders[variant], pad_id_of(VARIANTS[variant])
    _, ids_BxT = random_inputs(VARIANTS[variant])

    @jax.jit
    def slope_of_tokens(tokens_VxC):
        def first_coordinate(tokens_VxC):
            params = {**encoder.params, "text.bert.tokens": tokens_VxC}
            return jnp.sum(merge_flat(encoder.graph, params).encode_text(ids_BxT)[0][:, 0])

        return jax.grad(first_coordinate)(tokens_VxC)

    slope_VxC = np.asarray(slope_of_tokens(encoder.params["text.bert.tokens"]))
    assert np.all(slope_VxC[pad_id] == 0)
    assert np.all(np.abs(slope_VxC[ids_BxT[0, :4]]).max(axis=1) > 0)


def test_nothing_moves_batch_statistics(encoders):
    """Every other weight of the image tower has a slope; the statistics have none."""
    encoder = encoders["align"]
    pixels, _ = random_inputs(VARIANTS["align"])

    @jax.jit
    def slopes(params):
        def spread(params):
            return jnp.sum(merge_flat(encoder.graph, params).encode_image(pixels)[0][:, :3])

        return jax.grad(spread)(params)

    for name, slope in slopes(dict(encoder.params)).items():
        if name.startswith("vision."):
            still = name.endswith((".mean", ".variance"))
            assert (np.abs(np.asarray(slope)).max() == 0) == still, name


def test_align_takes_pictures_of_another_size(encoders, tmp_path):
    folder = write_checkpoint(tmp_path, VARIANTS["align"])
    larger = load_encoder(folder, image_size=48)
    assert larger.preprocess.output_size == (48, 48)
    picture = np.random.default_rng(0).integers(0, 256, (1, 60, 70, 3), dtype=np.uint8)
    cosine = larger.embed_images(picture)[0] @ encoders["align"].embed_images(picture)[0]
    assert 0.3 < cosine < 0.99999


def test_goldens_are_small():
    assert all((GOLDENS / f"{kind}.npz").stat().st_size < 20_000 for kind in ("altclip", "align"))


LONG = ["a red bird", "a red bird with yellow wings " * 11, "a small photo of a bird " * 31]


@pytest.mark.parametrize("name", ["altclip", "align"])
def test_long_rows_are_exact_too(name, tmp_path):
    """Beyond 77 tokens as well: rows of 8, 128 and 256 give what rows of the whole context do."""
    config = copy.deepcopy(VARIANTS[name])
    config["text_config"]["max_position_embeddings"] = 300
    encoder = load_encoder(write_checkpoint(tmp_path, config))
    tokenizer = replace(encoder.tokenizer, context_length=298)
    encoder = replace(encoder, tokenizer=tokenizer)
    assert [encoder._row_length(len(row)) for row in tokenizer.ids(LONG)] == [8, 128, 256]
    full_DxE = encoder._text_tower(dict(encoder.params), tokenizer(LONG))
    np.testing.assert_allclose(encoder.embed_texts(LONG), full_DxE, atol=2e-6)
