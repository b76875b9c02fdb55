"""What the files of AltCLIP and ALIGN may hold: names, configs, tokenizers, and what is wrong."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from random_bert_families import (
    VARIANTS,
    family_tensors,
    ignorable_tensors,
    write_checkpoint,
    write_tensors,
)
from transformers import AlignConfig as TheirAlignConfig
from transformers import AltCLIPConfig as TheirAltClipConfig

from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError

THEIRS = {"altclip": TheirAltClipConfig, "align": TheirAlignConfig}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {
        name: load_encoder(write_checkpoint(root / name, config))
        for name, config in VARIANTS.items()
        if name in THEIRS
    }


@pytest.mark.parametrize("variant", ["altclip", "align"])
def test_what_carries_no_weight_is_ignored_by_name(variant, encoders, tmp_path):
    config = VARIANTS[variant]
    folder = write_checkpoint(tmp_path, config, **ignorable_tensors(config))
    assert load_encoder(folder).content_hash == encoders[variant].content_hash
    write_tensors(folder, family_tensors(config) | {"elsewhere.position_ids": np.arange(3)})
    with pytest.raises(UserError, match=r"1 unknown: elsewhere\.position_ids"):
        load_encoder(folder)


def test_altclip_layers_have_two_names(encoders, tmp_path):
    config = VARIANTS["altclip"]
    folder = write_checkpoint(tmp_path, config)
    tensors = {n.replace(".layer.", ".layers."): a for n, a in family_tensors(config).items()}
    write_tensors(folder, tensors)
    assert load_encoder(folder).content_hash == encoders["altclip"].content_hash


CONFIGS = {
    "altclip nothing": {"model_type": "altclip"},
    "altclip twins": {
        "model_type": "altclip",
        "text_config": {"hidden_size": 64},
        "text_config_dict": {"hidden_size": 256, "num_attention_heads": 4, "project_dim": 99},
        "vision_config": {"hidden_size": 64},
        "vision_config_dict": {"patch_size": 14, "hidden_act": "gelu"},
    },
    "align nothing": {"model_type": "align"},
    "align released": {
        "model_type": "align",
        "vision_config": {"image_size": 289, "hidden_dim": 640},
    },
    **VARIANTS,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_read_as_transformers_reads_them(name):
    kind = CONFIGS[name]["model_type"]
    ours = FAMILIES[kind].config(copy.deepcopy(CONFIGS[name]))
    content = THEIRS[kind](**copy.deepcopy(CONFIGS[name])).to_dict()
    assert FAMILIES[kind].config(content) == ours
    assert (ours.embed_dim, ours.text.width) == (
        content["projection_dim"],
        content["text_config"]["hidden_size"],
    )


def _configure(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            config[section][name] = value
        else:
            config[section] = value
    (folder / "config.json").write_text(json.dumps(config))


BREAKAGES = {
    "padding": ("align", {"text_config__pad_token_id": 7}, "pad_token_id 7 but the tokenizer"),
    "padding beyond": ("altclip", {"text_config__pad_token_id": 95}, "does not fit vocab_size"),
    "vocabulary": ("altclip", {"text_config__vocab_size": 5000}, "vocab_size 5000"),
    "widths": ("align", {"projection_dim": 24}, "ends in 16 channels but projection_dim is 24"),
    "temperature": ("align", {"temperature_init_value": 0.0}, "temperature_init_value must be"),
    "stages": ("align", {"vision_config__strides": [1, 2]}, "one entry a stage: .*strides 2"),
    "stride": ("align", {"vision_config__strides": [1, 2, 3]}, "strides must be 1 or 2"),
    "activation": ("align", {"vision_config__hidden_act": "elu"}, "unknown activation 'elu'"),
    "pooling": ("align", {"vision_config__pooling_type": "sum"}, "'sum' is not mean or max"),
    "channels": ("align", {"vision_config__num_channels": 1}, "num_channels must be 3, not 1"),
    "image size": ("align", {"vision_config__image_size": [33, 34]}, r"not \[33, 34\]"),
    "picture": ("align", {"vision_config__image_size": 64}, "makes 33 x 33 pixels"),
    "depth": ("align", {"vision_config__depth_coefficient": 1.5}, "missing: "),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_checkpoints_get_one_clear_line(breakage, tmp_path):
    variant, changes, said = BREAKAGES[breakage]
    folder = write_checkpoint(tmp_path, VARIANTS[variant])
    _configure(folder, **changes)
    with pytest.raises(UserError, match=said) as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_its_files_says_so(tmp_path, monkeypatch):
    align = write_checkpoint(tmp_path / "align", VARIANTS["align"])
    (align / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"lacks its files \(tokenizer\.json, or vocab\.txt\)"):
        load_encoder(align)
    altclip = write_checkpoint(tmp_path / "altclip", VARIANTS["altclip"])
    (altclip / "tokenizer.json").rename(altclip / "sentencepiece.bpe.model")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"sentencepiece; .*pip install 'jaxcbm\[siglip\]'"):
        load_encoder(altclip)


def test_phrases_become_the_reference_ids(encoders):
    """Lower case and [CLS] ... [SEP] for ALIGN; <s> ... </s> for AltCLIP; cut with the end kept."""
    align, altclip = encoders["align"].tokenizer, encoders["altclip"].tokenizer
    assert align.backend.convert_ids_to_tokens(align.ids(["A Red birds"])[0]) == [
        *("[CLS]", "a", "red", "bird", "##s", "[SEP]"),
    ]
    assert altclip.backend.convert_ids_to_tokens(altclip.ids(["a red birds"])[0]) == [
        *("<s>", "▁a", "▁red", "▁bird", "s", "</s>"),
    ]
    for tokenizer, pad in ((align, "[PAD]"), (altclip, "<pad>")):
        assert tokenizer.pad_id == tokenizer.backend.convert_tokens_to_ids(pad)
        row_T = tokenizer(["a red bird " * 20])[0]
        assert len(row_T) == tokenizer.context_length == 20
        assert row_T[-1] == tokenizer.end_of_text_id
