"""open_clip's folders: their pixels and words, what is refused, and folders with two models."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import random_clip
from damage import swap_value, tries
from PIL import Image
from random_open_clip import PICTURES, TRANSFORMS, write_checkpoint
from safetensors.numpy import save_file

from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.open_clip.config import open_clip_preprocess, open_clip_sizes
from jaxcbm.errors import UserError

GOLDENS = Path(__file__).parents[2] / "goldens" / "open_clip.npz"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("open_clip")


@pytest.fixture(scope="module")
def kept(scratch) -> Path:
    return write_checkpoint(scratch / "kept", "top", scratch)


@pytest.fixture
def checkpoint(kept, tmp_path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "checkpoint"))


def edit(folder: Path, **changes) -> None:
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        *sections, name = key.split("__")
        section = content
        for part in sections:
            section = section[part]
        section[name] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_pixels_equal_open_clips(name, checkpoint):
    """Among them pictures whose crop falls between pixels, which transformers cuts otherwise."""
    mode, interpolation = TRANSFORMS[name]
    edit(checkpoint, preprocess_cfg={"resize_mode": mode, "interpolation": interpolation})
    preprocess = open_clip_preprocess(checkpoint)
    ours = np.stack([preprocess(Image.fromarray(picture)) for picture in PICTURES])
    with np.load(GOLDENS) as goldens:
        want = goldens[f"pixels.{name}"]
    np.testing.assert_array_equal(ours, want)
    if mode == "shortest":
        floored = replace(preprocess, rounded_corner=False)
        assert any((floored(p) != w).any() for p, w in zip(PICTURES, want, strict=True))


def test_settings_left_out_are_open_clips(checkpoint):
    edit(checkpoint, preprocess_cfg={})
    preprocess = open_clip_preprocess(checkpoint)
    assert (preprocess.shortest_edge, preprocess.crop) == (32, (32, 32))
    assert preprocess.mean == (0.48145466, 0.4578275, 0.40821073)
    sizes = open_clip_sizes({"model_cfg": {"vision_cfg": {}, "text_cfg": {}}})
    assert (sizes.vision.width, sizes.vision.heads, sizes.vision.mlp_width) == (768, 12, 3072)
    assert (sizes.text.width, sizes.text.heads, sizes.text.context_length) == (512, 8, 77)
    assert {sizes.vision.activation, sizes.text.activation} == {"gelu"}
    sizes = open_clip_sizes({"model_cfg": {"vision_cfg": {}, "quick_gelu": True}})
    assert {sizes.vision.activation, sizes.text.activation} == {"quick_gelu"}


def test_html_is_undone_twice(kept):
    tokenizer = load_encoder(kept).tokenizer
    assert tokenizer.ids(["red &amp;amp; blue"]) == tokenizer.ids(["red & blue"])


def test_of_two_models_the_one_with_weights_is_taken(checkpoint, scratch):
    """As on the hub: transformers' layout beside open_clip's, or timm's config and image tower."""
    (checkpoint / "config.json").write_text(json.dumps({"architecture": "vit_base_clip"}))
    save_file({"blocks.0.attn.qkv.weight": np.ones(3)}, checkpoint / "model.safetensors")
    assert load_encoder(checkpoint).family == "open_clip"
    random_clip.write_config(checkpoint, random_clip.VARIANTS["quick_gelu"])
    (checkpoint / "model.safetensors").unlink()
    assert load_encoder(checkpoint).family == "open_clip"
    random_clip.write_checkpoint(checkpoint, random_clip.VARIANTS["quick_gelu"], scratch)
    assert load_encoder(checkpoint).family == "clip"


@pytest.mark.parametrize("has_type", [True, False])
def test_the_hub_sends_the_weights_of_the_model_that_is_read(
    has_type, tmp_path, scratch, monkeypatch
):
    folder = write_checkpoint(tmp_path / "snapshot", "top", scratch)
    random_clip.write_config(folder, random_clip.VARIANTS["quick_gelu"])
    if not has_type:
        (folder / "config.json").write_text("{}")
    names = ["open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors"]
    asked = []

    class Info:
        siblings = tuple(
            type("File", (), {"rfilename": name})
            for name in ("config.json", "open_clip_config.json", *names)
        )

    def snapshot(_name, *, allow_patterns):
        asked.append(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_a, **_k: Info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    if has_type:
        save_file(
            random_clip.random_tensors(random_clip.VARIANTS["quick_gelu"]),
            folder / "model.safetensors",
        )
    assert load_encoder("owner/model").family == ("clip" if has_type else "open_clip")
    wanted = [name for name in names if any(name in patterns for patterns in asked)]
    assert wanted == (["model.safetensors"] if has_type else ["open_clip_model.safetensors"])


VISION, TEXT = "model_cfg__vision_cfg__", "model_cfg__text_cfg__"
REFUSED = {
    "timm": ({VISION + "timm_model_name": "vit_base_patch16_siglip_224"}, "'vit_base_patch16_sig"),
    "hf text": ({TEXT + "hf_model_name": "xlm-roberta-base"}, "'xlm-roberta-base' of Hugging Face"),
    "hf words": ({TEXT + "hf_tokenizer_name": "xlm-v"}, "'xlm-v' of Hugging Face"),
    "resnet": ({VISION + "layers": [3, 4, 6, 3]}, "a ResNet"),
    "layer scale": ({VISION + "ls_init_value": 1e-5}, "vision_cfg.ls_init_value 1e-05 makes"),
    "pooling": ({VISION + "pool_type": "avg"}, "vision_cfg.pool_type 'avg' makes"),
    "text pooling": ({TEXT + "pool_type": "last"}, "text_cfg.pool_type 'last' makes"),
    "text class token": ({TEXT + "embed_cls": True}, "text_cfg.embed_cls True makes"),
    "no mask": ({TEXT + "no_causal_mask": True}, "text_cfg.no_causal_mask True makes"),
    "captions": ({"model_cfg__multimodal_cfg": {"width": 512}}, "multimodal_cfg"),
    "bias": ({"model_cfg__init_logit_bias": -10}, "init_logit_bias -10 makes"),
    "oblong": ({VISION + "image_size": [32, 48]}, "only squares are"),
    "activation": ({VISION + "act_kwargs": {"inplace": True}}, "act_kwargs"),
    "resize": ({"preprocess_cfg__resize_mode": "longest"}, "resize_mode 'longest' is not supp"),
    "filter": ({"preprocess_cfg__interpolation": "nearest"}, "interpolation 'nearest' is not"),
    "width": ({TEXT + "width": 48}, "mis-shaped: "),
    "depth": ({VISION + "layers": 3}, r"16 missing: visual\.transformer\.resblocks\.2\."),
    "vocabulary": ({TEXT + "vocab_size": 49408}, "has 572 tokens but .* vocab_size 49408"),
    "nothing": ({"model_cfg": {}}, "vision_cfg must be an object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_towers_are_refused_by_name(name, checkpoint):
    changes, said = REFUSED[name]
    edit(checkpoint, **changes)
    with pytest.raises(UserError, match=said) as caught:
        load_encoder(checkpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("tokenizer.json", r"tokenizer lacks its files .tokenizer.json, or vocab.json and merges"),
        ("open_clip_model.safetensors", "no weights .looked for open_clip_model.safetensors"),
        ("open_clip_config.json", "no config.json"),
    ],
)
def test_what_is_missing_is_named(file, said, checkpoint):
    (checkpoint / file).unlink()
    with pytest.raises(UserError, match=said):
        load_encoder(checkpoint)


def test_strange_values_give_sizes_or_one_line(checkpoint):
    config = checkpoint / "open_clip_config.json"
    edit(checkpoint, preprocess_cfg={"mean": [0.5] * 3, "std": 0.5, "resize_mode": "squash"})
    edit(checkpoint, **{VISION + "act_kwargs": {"approximate": "tanh"}})
    edit(checkpoint, **{TEXT + "norm_kwargs": {"eps": 1e-6}})
    whole = config.read_text()
    for seed in range(tries(200)):
        config.write_text(whole)
        swap_value(config, np.random.default_rng(seed))
        try:
            sizes = open_clip_sizes(json.loads(config.read_text()))
            how = open_clip_preprocess(checkpoint)
        except UserError as error:
            assert "\n" not in str(error) and "config.json: " in str(error), seed
        else:
            numbers = (sizes.vision.width, sizes.vision.mlp_width, sizes.text.layers, *how.std)
            assert min(numbers) > 0, seed
