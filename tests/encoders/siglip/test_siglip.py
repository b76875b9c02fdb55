"""SigLIP's own: its tokenizers, its configs, its scores, and what is refused."""

import copy
import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from random_siglip import (
    CONTEXT_LENGTH,
    PHRASES,
    VARIANTS,
    random_inputs,
    write_checkpoint,
    write_tokenizer,
)
from transformers import PreTrainedTokenizerFast, SiglipConfig

from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.nn.matmul import matmul
from jaxcbm.encoders.siglip.config import SiglipConfig as OurConfig
from jaxcbm.encoders.siglip.model import PoolingHead
from jaxcbm.encoders.siglip.tokenizer import siglip_tokenizer
from jaxcbm.errors import UserError
from jaxcbm.flat_params import merge_flat

GOLDENS = Path(__file__).parents[2] / "goldens"
CONFIG = VARIANTS["tanh_gelu"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("siglip") / "kept", "tanh_gelu")


@pytest.fixture
def checkpoint(kept, tmp_path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "checkpoint"))


def edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            content[section][name] = value
        else:
            content[section] = value
    path.write_text(json.dumps(content))


CONFIGS = {
    "nothing": {},
    "version 1": {"vision_config": {"model_type": "siglip_vision_model"}},
    "partial sections": {
        "text_config": {"hidden_size": 512, "num_attention_heads": 8, "projection_size": 768},
        "vision_config": {"patch_size": 32, "image_size": 256, "layer_norm_eps": 1e-5},
    },
    "so400m": {
        "text_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_attention_heads": 16,
            "num_hidden_layers": 27,
        },
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_attention_heads": 16,
            "num_hidden_layers": 27,
            "patch_size": 14,
            "image_size": 384,
        },
    },
    **{f"variant {name}": config for name, config in VARIANTS.items()},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_read_as_transformers_reads_them(name):
    ours = OurConfig.from_hf(copy.deepcopy(CONFIGS[name]))
    theirs = SiglipConfig(**copy.deepcopy(CONFIGS[name]))
    text, vision = theirs.text_config, theirs.vision_config
    assert ours.embed_dim == text.projection_size == vision.hidden_size
    assert ours.text.vocab_size == text.vocab_size
    assert ours.text.context_length == text.max_position_embeddings
    assert ours.vision.image_size == vision.image_size
    assert ours.vision.patch_size == vision.patch_size
    for tower, their_tower in ((ours.text, text), (ours.vision, vision)):
        assert tower.width == their_tower.hidden_size
        assert tower.mlp_width == their_tower.intermediate_size
        assert tower.layers == their_tower.num_hidden_layers
        assert tower.heads == their_tower.num_attention_heads
        assert tower.activation == their_tower.hidden_act
        assert tower.eps == their_tower.layer_norm_eps


def test_scores_have_the_bias_of_torch(kept):
    encoder = load_encoder(kept)
    assert encoder.logit_bias != 0
    with np.load(GOLDENS / "siglip.npz") as goldens:
        scores_NxD = encoder.scores(goldens["tanh_gelu.image"], goldens["tanh_gelu.text"])
        np.testing.assert_allclose(scores_NxD, goldens["tanh_gelu.scores"], atol=1e-5)


# Each is a mistake that a port can make; the goldens must tell every one from the truth.
MISTAKES = {
    "tanh gelu as gelu": ("tanh_gelu", "vision_config", "hidden_act", "gelu", "image"),
    "gelu as tanh gelu": ("gelu", "text_config", "hidden_act", "gelu_pytorch_tanh", "text"),
    "guessed heads": ("tanh_gelu", "vision_config", "num_attention_heads", 2, "image"),
    "default epsilon": ("gelu", "vision_config", "layer_norm_eps", 1e-6, "image"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_goldens_tell_mistakes_apart(mistake, tmp_path):
    variant, section, key, value, kind = MISTAKES[mistake]
    folder = write_checkpoint(tmp_path, variant)
    edit(folder / "config.json", **{f"{section}__{key}": value})
    encoder = load_encoder(folder)
    pixels_BxSxSx3, ids_BxT = random_inputs(VARIANTS[variant])
    model = merge_flat(encoder.graph, dict(encoder.params))
    tower = model.encode_image if kind == "image" else model.encode_text
    ours_BxE = jax.jit(tower)(pixels_BxSxSx3 if kind == "image" else ids_BxT)[0]
    with np.load(GOLDENS / "siglip.npz") as goldens:
        assert np.abs(ours_BxE - goldens[f"{variant}.{kind}"]).max() > 3e-5


def test_version_2_lower_cases_and_fills_rows(kept):
    tokenizer = siglip_tokenizer(kept, OurConfig.from_hf(CONFIG))
    backend = PreTrainedTokenizerFast(
        tokenizer_file=str(kept / "tokenizer.json"), pad_token="<pad>", eos_token="<eos>"
    )
    rows_NxT = tokenizer(PHRASES)
    assert rows_NxT.shape == (len(PHRASES), CONTEXT_LENGTH)
    for phrase, row_T in zip(PHRASES, rows_NxT, strict=True):
        want = backend(phrase.lower(), add_special_tokens=False)["input_ids"]
        want = [*want[: CONTEXT_LENGTH - 1], backend.eos_token_id]
        want += [backend.pad_token_id] * (CONTEXT_LENGTH - len(want))
        np.testing.assert_array_equal(row_T, want)
    assert tokenizer.ids(["A red BIRD!"]) == tokenizer.ids(["a red bird!"])
    assert tokenizer.ids(["a red bird!"]) != tokenizer.ids(["a red bird"]), "punctuation is kept"
    assert tokenizer.ids(["a  bird"]) != tokenizer.ids(["a bird"]), "blanks are kept"


def test_version_1_drops_punctuation_and_fills_rows_with_the_end(tmp_path):
    write_tokenizer(tmp_path, "SiglipTokenizer")
    tokenizer = siglip_tokenizer(tmp_path, OurConfig.from_hf(CONFIG))
    assert tokenizer.ids(["It's  a RED-bird!\n"]) == tokenizer.ids(["its a redbird"])
    row_T = tokenizer(["a bird"])[0]
    assert tokenizer.pad_id == tokenizer.end_of_text_id == row_T[-1]


def sentencepiece_folder(folder: Path) -> Path:
    """Version 1 as it is on the hub: spiece.model, whatever else there is."""
    write_tokenizer(folder, "SiglipTokenizer")
    shutil.copy(GOLDENS / "siglip_spiece.model", folder / "spiece.model")
    return folder


def test_sentencepiece_ids_equal_transformers(tmp_path):
    pytest.importorskip("sentencepiece")
    sizes = {**CONFIG, "text_config": {**CONFIG["text_config"], "vocab_size": 96}}
    tokenizer = siglip_tokenizer(sentencepiece_folder(tmp_path), OurConfig.from_hf(sizes))
    with np.load(GOLDENS / "siglip.npz") as goldens:
        np.testing.assert_array_equal(tokenizer(PHRASES), goldens["ids"])


def test_a_missing_sentencepiece_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r"pip install 'jaxcbm\[siglip\]'"):
        siglip_tokenizer(sentencepiece_folder(tmp_path), OurConfig.from_hf(CONFIG))


def five_tokens(folder: Path) -> None:
    """What a library makes of a folder without a vocabulary."""
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {t: i for t, i in vocabulary.items() if i < 5}
    content["model"]["merges"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content))


BREAKAGES = {
    "naflex": (
        lambda f: edit(f / "config.json", model_type="siglip2"),
        "varying size .naflex., which is not supported",
    ),
    "no head": (
        lambda f: edit(f / "config.json", vision_config__vision_use_head=False),
        "vision_use_head is false",
    ),
    "widths": (
        lambda f: edit(f / "config.json", text_config__projection_size=24),
        "projected to 24 numbers but pictures have 32",
    ),
    "channels": (
        lambda f: edit(f / "config.json", vision_config__num_channels=1),
        "num_channels must be 3, not 1",
    ),
    "depth": (
        lambda f: edit(f / "config.json", text_config__num_hidden_layers=3),
        "16 missing: ",
    ),
    "positions": (
        lambda f: edit(f / "config.json", text_config__max_position_embeddings=64),
        "mis-shaped: text_model.embeddings.position_embedding",
    ),
    "tokenizer gone": (
        lambda f: (f / "tokenizer.json").unlink(),
        "tokenizer lacks its files .spiece.model, or tokenizer.json and tokenizer_config.json",
    ),
    "tokenizer settings gone": (lambda f: (f / "tokenizer_config.json").unlink(), "lacks its fil"),
    "tokenizer cut": (lambda f: (f / "tokenizer.json").write_text("{"), "incomplete or damaged"),
    "settings cut": (lambda f: (f / "tokenizer_config.json").write_text("{"), "not a JSON file"),
    "five tokens": (five_tokens, "has 5 tokens but config.json says vocab_size 300"),
    "another class": (
        lambda f: edit(f / "tokenizer_config.json", tokenizer_class="BertTokenizer"),
        "'BertTokenizer' is not one of SigLIP's",
    ),
    "no end": (
        lambda f: edit(f / "tokenizer_config.json", eos_token="<end>"),
        "no token '<end>', its eos_token",
    ),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_checkpoints_get_one_clear_line(breakage, checkpoint):
    break_it, said = BREAKAGES[breakage]
    break_it(checkpoint)
    with pytest.raises(UserError, match=said) as caught:
        load_encoder(checkpoint)
    assert "\n" not in str(caught.value)


def test_what_fills_a_row_shows(kept):
    """Unlike CLIP's: another padding is another embedding, so rows are never cut short."""
    encoder = load_encoder(kept)
    model = merge_flat(encoder.graph, dict(encoder.params))
    ids_1xT = encoder.tokenizer(["a bird"])
    assert ids_1xT[0, -1] == encoder.tokenizer.pad_id != encoder.tokenizer.end_of_text_id
    other_1xT = np.where(ids_1xT == encoder.tokenizer.pad_id, 1, ids_1xT)
    first, other = jax.jit(lambda ids: model.encode_text(ids)[0])(
        np.concatenate([ids_1xT, other_1xT])
    )
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_allclose(encoder.embed_texts(["a bird"])[0], first, atol=1e-6)


def test_rows_that_a_picture_has_one_of_are_read_exactly():
    vision = OurConfig.from_hf(CONFIG).vision
    head = PoolingHead(vision, nnx.Rngs(0))
    x_MxC = jax.random.normal(jax.random.key(0), (6, vision.width))
    values_MxC = matmul(x_MxC, head.qkv.kernel[...][:, -vision.width :], jnp.bfloat16)
    # Of a single patch attention keeps all, in the type of its operands.
    read_MxC = values_MxC.astype(jnp.bfloat16).astype(jnp.float32)
    hidden_MxC = head.out(read_MxC)
    wanted_MxC = hidden_MxC + head.mlp(head.norm(hidden_MxC))
    found_MxC = head(x_MxC, 1, jnp.bfloat16)
    np.testing.assert_allclose(found_MxC, wanted_MxC, atol=1e-5)
    assert np.abs(head.of_each(x_MxC, jnp.bfloat16) - wanted_MxC).max() > 1e-3
