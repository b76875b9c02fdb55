"""Loading: configs as transformers reads them, round trips, one clear line for what is wrong."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from random_clip import VARIANTS, write_checkpoint, write_config
from safetensors import safe_open
from transformers import CLIPConfig

from jaxcbm.encoders.checkpoint.save import save_encoder
from jaxcbm.encoders.clip.config import ClipConfig
from jaxcbm.encoders.clip.model import make_clip
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.flat_params import abstract

CONFIG = VARIANTS["quick_gelu"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture
def checkpoint(tmp_path, scratch) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", CONFIG, scratch)


def random_params(config: ClipConfig) -> dict[str, np.ndarray]:
    _, shapes = abstract(lambda: make_clip(config, rngs=nnx.Rngs(0)))
    random = np.random.default_rng(0)
    return {n: random.standard_normal(s.shape, np.float32) for n, s in shapes.items()}


CONFIGS = {
    "nothing": {},
    "sections left out": {"model_type": "clip", "projection_dim": 768},
    "partial sections": {
        "text_config": {"hidden_size": 768, "num_attention_heads": 12, "projection_dim": 99},
        "vision_config": {"patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu"},
    },
    "overridden by their twins": {
        "text_config": {"hidden_size": 64, "eos_token_id": 2, "vocab_size": 1000},
        "text_config_dict": {"hidden_size": 256, "num_attention_heads": 4},
        "vision_config": {"hidden_size": 64, "hidden_act": "gelu"},
        "vision_config_dict": {"num_hidden_layers": 24, "patch_size": 14},
        "projection_dim": 32,
    },
    "empty twins": {
        "text_config": {"eos_token_id": 2},
        "text_config_dict": None,
        "vision_config": {"hidden_size": 1024, "num_attention_heads": 16},
        "vision_config_dict": {},
    },
    **{f"variant {name}": config for name, config in VARIANTS.items()},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_read_as_transformers_reads_them(name):
    ours = ClipConfig.from_hf(copy.deepcopy(CONFIGS[name]))
    for theirs in (CLIPConfig(**copy.deepcopy(CONFIGS[name])), CLIPConfig(**ours.to_hf())):
        text, vision = theirs.text_config, theirs.vision_config
        assert ours.embed_dim == theirs.projection_dim
        assert ours.text.vocab_size == text.vocab_size
        assert ours.text.context_length == text.max_position_embeddings
        assert ours.text.end_of_text_id == text.eos_token_id
        assert (ours.vision.image_size, ours.vision.patch_size) == (
            vision.image_size,
            vision.patch_size,
        )
        for tower, their_tower in ((ours.text, text), (ours.vision, vision)):
            assert tower.width == their_tower.hidden_size
            assert tower.mlp_width == their_tower.intermediate_size
            assert tower.layers == their_tower.num_hidden_layers
            assert tower.heads == their_tower.num_attention_heads
            assert tower.activation == their_tower.hidden_act
            assert tower.eps == their_tower.layer_norm_eps
    assert ClipConfig.from_hf(ours.to_hf()) == ours


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_saved_encoders_load_again(dtype, tmp_path, checkpoint):
    config = ClipConfig.from_hf(CONFIG)
    params = random_params(config)
    folder = tmp_path / "deep" / "saved"
    for _ in range(2):  # the second time replaces the first
        save_encoder(folder, config, params, checkpoint, Preprocess.square(32), dtype)
    encoder = load_encoder(folder)
    assert encoder.config == config
    assert encoder.preprocess == Preprocess.square(32)
    assert list(encoder.params) == list(params)
    for name, array in encoder.params.items():
        want = np.asarray(params[name]).astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(array, want, err_msg=name)
    with safe_open(folder / "model.safetensors", framework="numpy") as file:
        assert file.get_tensor("visual_projection.weight").dtype == dtype
        assert file.metadata() == {"format": "pt"}
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]


def test_a_failed_save_leaves_the_old_encoder(tmp_path, checkpoint):
    config = ClipConfig.from_hf(CONFIG)
    params = random_params(config)
    folder = tmp_path / "saved"
    save_encoder(folder, config, params, checkpoint, Preprocess.square(32))
    before = load_encoder(folder).content_hash
    params["text.tokens"] += np.float32(1e6)
    with pytest.raises(ValueError, match="cannot be stored as float16"):
        save_encoder(folder, config, params, checkpoint, Preprocess.square(32))
    assert load_encoder(folder).content_hash == before
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "saved"}


def test_content_hash_sees_everything_that_matters(tmp_path, checkpoint, scratch):
    first = load_encoder(checkpoint)
    assert first.content_hash == load_encoder(str(checkpoint), dtype="bfloat16").content_hash
    moved = checkpoint.rename(tmp_path / "moved")
    assert load_encoder(moved).content_hash == first.content_hash
    seen = {first.content_hash}
    for change in ("weights", "config", "preprocessor", "tokenizer"):
        folder = write_checkpoint(tmp_path / change, CONFIG, scratch)
        if change == "weights":
            path = folder / "model.safetensors"
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
        elif change == "config":
            config = copy.deepcopy(CONFIG)
            config["vision_config"]["hidden_act"] = "gelu"
            write_config(folder, config)
        elif change == "preprocessor":
            settings = {"size": 40, "crop_size": 32}
            (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        else:
            with (folder / "tokenizer_config.json").open("a") as file:
                file.write("\n")
        seen.add(load_encoder(folder).content_hash)
    assert len(seen) == 5


def _config_with(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            config[section][name] = value
        else:
            config[section] = value
    (folder / "config.json").write_text(json.dumps(config))


BREAKAGES = {
    "family": (lambda f: _config_with(f, model_type="blip"), r"'blip' is not supported.*clip"),
    "no family": (lambda f: (f / "config.json").write_text("{}"), "None is not supported"),
    "config gone": (lambda f: (f / "config.json").unlink(), r"no config\.json"),
    "config cut": (lambda f: (f / "config.json").write_text('{"a'), "not a JSON file"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "not a model's conf"),
    "width": (lambda f: _config_with(f, text_config__hidden_size=48), "mis-shaped: "),
    "depth": (lambda f: _config_with(f, vision_config__num_hidden_layers=3), "16 missing: "),
    "heads": (lambda f: _config_with(f, vision_config__num_attention_heads=5), "not a multiple"),
    "activation": (lambda f: _config_with(f, text_config__hidden_act="elu"), "activation 'elu'"),
    "channels": (
        lambda f: _config_with(f, vision_config__num_channels=4),
        "num_channels must be 3",
    ),
    "end": (lambda f: _config_with(f, text_config__eos_token_id=9), "eos_token_id 9 but the tok"),
    "ends": (lambda f: _config_with(f, text_config__eos_token_id=[1, 2]), "eos_token_id must be"),
    "picture": (lambda f: _config_with(f, vision_config__image_size=40), "makes 32 x 32 pixels"),
    "vocabulary": (lambda f: _config_with(f, text_config__vocab_size=2000), "vocab_size 2000"),
    "tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer lacks its files"),
    "preprocessor": (lambda f: (f / "preprocessor_config.json").unlink(), "no preprocessor_conf"),
    "weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_checkpoints_get_one_clear_line(breakage, checkpoint):
    break_it, said = BREAKAGES[breakage]
    break_it(checkpoint)
    with pytest.raises(UserError, match=said) as caught:
        load_encoder(checkpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no/such/folder", "./nothing", "../x", Path("a/b"), "plain"])
def test_no_such_folder_says_so(name):
    with pytest.raises(UserError, match="no such folder"):
        load_encoder(name)


def test_unknown_dtype_says_so(checkpoint):
    with pytest.raises(UserError, match="'float16'"):
        load_encoder(checkpoint, dtype="float16")


def test_an_unreachable_hub_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def fail(*_args, **_kwargs):
        raise ConnectionError("Name or service not known\nsecond line")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    with pytest.raises(UserError, match=r"owner/model: .*hub cannot be reached") as caught:
        load_encoder("owner/model")
    assert "\n" not in str(caught.value)


def test_a_cached_snapshot_serves_without_a_network(tmp_path, scratch, monkeypatch):
    def fail(*_args, **_kwargs):
        raise ConnectionError("Name or service not known")

    repository = tmp_path / "models--owner--model"
    write_checkpoint(repository / "snapshots" / ("0" * 40), CONFIG, scratch)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    encoder = load_encoder("owner/model")
    assert (encoder.name, encoder.family) == ("owner/model", "clip")


def test_only_what_is_needed_is_downloaded(tmp_path, scratch, monkeypatch):
    """One format of weights, and never code."""
    asked = {}

    class Info:
        siblings = tuple(
            type("File", (), {"rfilename": name})
            for name in ("config.json", "model.safetensors", "pytorch_model.bin", "model.py")
        )

    def snapshot(name, *, allow_patterns):
        asked[name] = allow_patterns
        return str(write_checkpoint(tmp_path / "snapshot", CONFIG, scratch))

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_a, **_k: Info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    load_encoder("owner/model")
    assert "model.safetensors" in asked["owner/model"]
    assert not [p for p in asked["owner/model"] if p.endswith((".bin", ".py", ".msgpack"))]
