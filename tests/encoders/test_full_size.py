"""The real sizes: ViT-B/32 and ViT-L/14 folders with random weights load and encode."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from random_clip import tensor_shapes, write_config
from safetensors.numpy import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from jaxcbm.encoders.load import load_encoder

SIZES = {
    "ViT-B/32": ((768, 12, 32), (512, 8), 512, 151_277_313),
    "ViT-L/14": ((1024, 24, 14), (768, 12), 768, 427_616_513),
}


def full_config(name: str) -> dict:
    (width, layers, patch), (text_width, heads), embed, _ = SIZES[name]
    return {
        "model_type": "clip",
        "projection_dim": embed,
        "vision_config": {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64,
            "image_size": 224,
            "patch_size": patch,
        },
        "text_config": {
            "hidden_size": text_width,
            "intermediate_size": 4 * text_width,
            "num_hidden_layers": 12,
            "num_attention_heads": heads,
            "vocab_size": 49408,
            "max_position_embeddings": 77,
            "bos_token_id": 49406,
            "eos_token_id": 2,
        },
    }


def half_precision_tensors(config: dict) -> dict[str, np.ndarray]:
    """Random float16 weights; one block of noise repeated, since drawing them all takes a while."""
    noise = np.random.default_rng(0).standard_normal(1 << 16).astype(np.float16)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        values = np.resize(noise, int(np.prod(shape))).reshape(shape)
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 0
        spread = np.float16(fan_in**-0.5 if fan_in else 0.02)
        centre = np.float16("norm" in name and name.endswith("weight"))
        tensors[name] = np.asarray(values * spread + centre, np.float16)
    tensors["logit_scale"] = np.array(4.6, np.float16)
    return tensors


def write_full_tokenizer(folder: Path) -> None:
    """A vocabulary of CLIP's size: bytes, tokens no text ever has, and the two special ones."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [f"unused {i}" for i in range(49406 - len(tokens))]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_full_size_folders_load_and_encode(name: str, tmp_path: Path):
    config = full_config(name)
    write_config(tmp_path, config)
    write_full_tokenizer(tmp_path)
    save_file(half_precision_tensors(config), tmp_path / "model.safetensors")
    encoder = load_encoder(tmp_path)
    shutil.rmtree(tmp_path)

    assert sum(array.size for array in encoder.params.values()) == SIZES[name][-1]
    images = np.random.default_rng(1).integers(0, 256, (3, 180, 240, 3), dtype=np.uint8)
    images_NxE = encoder.embed_images(images, batch_size=2)
    texts_DxE = encoder.embed_texts(["a bird", "a crown", "a boot " * 99])
    for vectors in (images_NxE, texts_DxE):
        assert vectors.shape == (3, config["projection_dim"])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.abs(vectors @ vectors.T - np.eye(3)).max() < 1 - 1e-6, "no two are the same"
    assert np.all(np.isfinite(encoder.scores(images_NxE, texts_DxE)))
