"""Whatever stands in a checkpoint's files, it loads and embeds numbers, or ends in one line."""

import shutil

import ml_dtypes
import numpy as np
import pytest
from damage import restore, swap_value, tries
from safetensors.numpy import load_file, save_file

from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError

FILES = ("config.json", "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json")
# What is checked between files is told by their kind.
KINDS = ("tokenizer", "preprocessor")
PICTURE = np.full((16, 16, 3), 100, np.uint8)


def test_strange_values(tiny_encoder_folder, tmp_path):
    """JAXCBM_FAULTS=560 makes as many tries as the first attack did."""
    folder = tmp_path / "encoder"
    for seed in range(tries(20)):
        rng = np.random.default_rng(seed)
        restore(folder, tiny_encoder_folder)
        file = folder / FILES[rng.integers(len(FILES))]
        swap_value(file, rng)
        try:
            encoder = load_encoder(folder)
            embedded = [encoder.embed_images([PICTURE]), encoder.embed_texts(["a red bird"])]
        except UserError as error:
            words = str(error)
            assert "\n" not in words, (seed, words)
            assert any(name in words for name in (file.name, *KINDS)), (seed, words)
        else:
            assert np.isfinite(embedded).all(), (seed, file.name)


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("config.json", '"clip"', "[1, 2]", "model_type"),
        ("config.json", '"hidden_size": 32', '"hidden_size": 1e9', "hidden_size"),
        ("config.json", '"num_hidden_layers": 1', '"num_hidden_layers": 9999', "num_hidden_layers"),
        ("preprocessor_config.json", '"do_resize": true', '"do_resize": [1]', "do_resize"),
        ("preprocessor_config.json", '"resample": 3', '"resample": 300', "resample"),
        (
            "preprocessor_config.json",
            '"rescale_factor": 0.',
            '"rescale_factor": 1e9, "x": 0.',
            "rescale",
        ),
        ("preprocessor_config.json", '"image_std": [', '"image_std": [0, ', "image_std"),
        ("preprocessor_config.json", '"image_mean": [', '"image_mean": ["x", ', "image_mean"),
        ("tokenizer_config.json", "77", "false", "model_max_length"),
        ("tokenizer_config.json", '"CLIPTokenizer"', "3", "tokenizer_class"),
        ("tokenizer.json", ": 65,", ": [],", "line"),
        ("tokenizer_config.json", "{", "[" * 100_000 + "{", "not a JSON file"),
    ],
)
def test_file_and_field_are_named(file, old, new, field, tiny_encoder_folder, tmp_path):
    folder = shutil.copytree(tiny_encoder_folder, tmp_path / "encoder")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=f"{file}.*{field}"):
        load_encoder(folder)


def test_a_token_that_the_table_lacks(tiny_encoder_folder, tmp_path):
    folder = shutil.copytree(tiny_encoder_folder, tmp_path / "encoder")
    text = (folder / "tokenizer.json").read_text()
    assert '"b": 65' in text
    (folder / "tokenizer.json").write_text(text.replace('"b": 65', '"b": 5000', 1))
    with pytest.raises(UserError, match=r"id 5000 but .* vocab_size 514"):
        load_encoder(folder)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_weights_that_are_no_numbers(value, dtype, tiny_encoder_folder, tmp_path):
    folder = shutil.copytree(tiny_encoder_folder, tmp_path / "encoder")
    tensors = {k: v.astype(dtype) for k, v in load_file(folder / "model.safetensors").items()}
    name = "text_model.final_layer_norm.weight"
    tensors[name][3] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=rf"inf or NaN \(1 tensors: {name}\)"):
        load_encoder(folder)
