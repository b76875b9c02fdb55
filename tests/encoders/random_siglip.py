"""Small SigLIP checkpoints with random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import random_tensors
from random_clip import CAPTIONS
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

CONTEXT_LENGTH = 16
VOCAB_SIZE = 300


def _config(vision: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    return {
        "model_type": "siglip",
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            **vision,
        },
        "text_config": {
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "projection_size": 32,
            "vocab_size": VOCAB_SIZE,
            "max_position_embeddings": CONTEXT_LENGTH,
            **text,
        },
    }


VARIANTS: dict[str, dict[str, Any]] = {
    # The defaults left out, and a text tower of another width than the shared space.
    "tanh_gelu": _config({}, {}),
    # A remainder that no patch covers, another epsilon in each tower, unequal depth.
    "gelu": _config(
        {"hidden_act": "gelu", "image_size": 30, "layer_norm_eps": 1e-3, "num_hidden_layers": 3},
        {"hidden_act": "gelu", "layer_norm_eps": 1e-2, "num_attention_heads": 6},
    ),
}
# What a tokenizer can get wrong: case, punctuation, blanks, unknown letters, length.
PHRASES = [
    "",
    "a red bird",
    "A Red  BIRD's   crown!!",
    "z\u00fcrich \u9ce5 na\u00efve",
    "it's 12 o'clock\n\tand we'll see, red-crowned",
    "in the middle \u2581 of it",
    "wings and bill and crown and belly " * 12,
]
# Version 2 has Gemma's special tokens; version 1 fills rows with the end of text.
CLASSES = {"tanh_gelu": "GemmaTokenizer", "gelu": "SiglipTokenizer"}


def random_inputs(config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pixels float32 [4, S, S, 3] and full rows of ids int32 [4, T]."""
    random = np.random.RandomState(7)
    size = config["vision_config"]["image_size"]
    pixels_BxSxSx3 = random.standard_normal((4, size, size, 3)).astype(np.float32)
    ids_BxT = random.randint(2, VOCAB_SIZE, (4, CONTEXT_LENGTH)).astype(np.int32)
    for row_T, end in zip(ids_BxT, (4, 7, 9, CONTEXT_LENGTH), strict=True):
        row_T[end:] = 0
    return pixels_BxSxSx3, ids_BxT


def write_tokenizer(folder: Path, kind: str) -> None:
    """tokenizer.json and tokenizer_config.json of one of the two versions."""
    second = kind == "GemmaTokenizer"
    special = ["<pad>", "<eos>", "<bos>", "<unk>"] if second else ["<unk>", "</s>"]
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.pre_tokenizer = pre_tokenizers.Split("\u2581", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=special, show_progress=False
    )
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'-,.! " * 2
    backend.train_from_iterator([*CAPTIONS, letters], trainer)
    backend.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": kind,
        "model_max_length": 1000000000000000019884624838656 if second else CONTEXT_LENGTH,
        "add_bos_token": False,
        "add_eos_token": True,
        "eos_token": "<eos>" if second else {"content": "</s>", "special": True},
        "pad_token": "<pad>" if second else {"content": "</s>", "special": True},
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_checkpoint(folder: Path, variant: str) -> Path:
    """Write a whole checkpoint."""
    config = VARIANTS[variant]
    folder.mkdir(parents=True, exist_ok=True)
    size = config["vision_config"]["image_size"]
    preprocessor = {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": size, "width": size},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    write_tokenizer(folder, CLASSES[variant])
    save_file(random_tensors("siglip", config), folder / "model.safetensors")
    return folder
