"""Small AltCLIP and ALIGN checkpoints with random weights, in every shape that the tests need."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import random_tensors
from safetensors.numpy import save_file

CONTEXT_LENGTH = 20
WORDS = [
    *("a", "photo", "of", "small", "large", "bird", "with", "red", "crown", "and", "yellow"),
    *("belly", "its", "wings", "are", "striped"),
]

_TEXT = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "vocab_size": 90,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
_STAGES = {
    "in_channels": [32, 38, 40],
    "out_channels": [38, 40, 64],
    "kernel_sizes": [3, 3, 5],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 2, 1],
    "expand_ratios": [1, 6, 4],
    "width_coefficient": 0.25,
    "depth_coefficient": 0.7,
}

# Each differs from the others in more than one respect that a port can get wrong.
VARIANTS: dict[str, dict[str, Any]] = {
    # The defaults left out.
    "altclip": {
        "model_type": "altclip",
        "projection_dim": 40,
        "text_config": {**_TEXT, "max_position_embeddings": 22, "project_dim": 28},
        "vision_config": _VISION,
    },
    # Another activation and epsilon in each tower, one wide head, a second token type, a remainder
    # that no patch covers.
    "altclip_tanh": {
        "model_type": "altclip",
        "projection_dim": 16,
        "logit_scale_init_value": 1.0,
        "text_config": {
            **_TEXT,
            "num_attention_heads": 1,
            "hidden_act": "gelu_new",
            "layer_norm_eps": 1e-2,
            "max_position_embeddings": 30,
            "type_vocab_size": 2,
            "project_dim": 24,
        },
        "vision_config": {
            **_VISION,
            "image_size": 30,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-3,
        },
    },
    # The defaults left out; a picture of odd size; widths that round up because rounding down
    # would take more than a tenth.
    "align": {
        "model_type": "align",
        "projection_dim": 16,
        "text_config": {**_TEXT, "max_position_embeddings": 20},
        "vision_config": {**_STAGES, "image_size": 33, "hidden_dim": 16},
    },
    # A strided block with its zeros on both sides, an even size, and every other rule changed.
    "align_max": {
        "model_type": "align",
        "projection_dim": 32,
        "temperature_init_value": 0.5,
        "text_config": {
            **_TEXT,
            "hidden_act": "relu",
            "layer_norm_eps": 1e-2,
            "max_position_embeddings": 40,
            "type_vocab_size": 1,
        },
        "vision_config": {
            **_STAGES,
            "width_coefficient": 0.5,
            "depth_coefficient": 0.5,
            "depthwise_padding": [1],
            "image_size": 40,
            "hidden_act": "gelu",
            "hidden_dim": 16,
            "pooling_type": "max",
            "batch_norm_eps": 0.1,
            "squeeze_expansion_ratio": 0.5,
        },
    },
}


def family_tensors(config: dict[str, Any]) -> dict[str, np.ndarray]:
    """`random_tensors` with variances above zero and a scale that a model could have learnt."""
    tensors = random_tensors(config["model_type"], config)
    for name, values in tensors.items():
        if name.endswith("running_var"):
            tensors[name] = np.float32(0.5) + np.abs(values)
    learnt = {"temperature": 0.07} if "temperature" in tensors else {"logit_scale": 3.0}
    return tensors | {name: np.array(value, np.float32) for name, value in learnt.items()}


def ignorable_tensors(config: dict[str, Any], seed: int = 1) -> dict[str, np.ndarray]:
    """What checkpoints carry beside the weights and no port may stumble over."""
    random, width = np.random.RandomState(seed), config["text_config"]["hidden_size"]
    tower = "text_model.roberta" if config["model_type"] == "altclip" else "text_model"
    positions = config["text_config"]["max_position_embeddings"]
    extra: dict[str, np.ndarray] = {
        f"{tower}.embeddings.position_ids": np.arange(positions, dtype=np.int64)[None],
        f"{tower}.pooler.dense.weight": random.standard_normal((width, width)).astype(np.float32),
        f"{tower}.pooler.dense.bias": random.standard_normal(width).astype(np.float32),
    }
    if config["model_type"] == "altclip":
        extra["vision_model.embeddings.position_ids"] = np.arange(17, dtype=np.int64)[None]
    for name in family_tensors(config):
        if name.endswith("running_var"):
            counter = name.replace("running_var", "num_batches_tracked")
            extra[counter] = np.array(7, np.int64)
    return extra


def random_inputs(config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pixels float32 [4, S, S, 3] and token ids int32 [4, 12] with padding behind."""
    random = np.random.RandomState(7)
    size, pad_id = config["vision_config"]["image_size"], pad_id_of(config)
    # A colour of its own for each: a tower that pools the whole map sees little else in noise.
    pixels_BxSxSx3 = random.standard_normal((4, size, size, 3)).astype(np.float32)
    pixels_BxSxSx3 += 2 * random.standard_normal((4, 1, 1, 3)).astype(np.float32)
    ids_BxT = random.randint(4, 90, (4, 12)).astype(np.int32)
    for row_T, end in zip(ids_BxT, (4, 7, 9, 12), strict=True):
        row_T[end:] = pad_id
    return pixels_BxSxSx3, ids_BxT


def pad_id_of(config: dict[str, Any]) -> int:
    """What a row is filled up with; every variant leaves it to its family's default."""
    return 1 if config["model_type"] == "altclip" else 0


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json and a preprocessor file that fits it."""
    size = config["vision_config"]["image_size"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if config["model_type"] == "altclip":
        how: dict[str, Any] = {
            "image_processor_type": "CLIPImageProcessor",
            "size": size,
            "crop_size": size,
        }
    else:
        how = {
            "image_processor_type": "EfficientNetImageProcessor",
            "size": {"height": size + 7, "width": size + 7},
            "crop_size": {"height": size, "width": size},
            "do_center_crop": True,
            "do_normalize": False,
            "include_top": False,
            "resample": 2,
            "rescale_factor": 1 / 127.5,
            "rescale_offset": True,
        }
    (folder / "preprocessor_config.json").write_text(json.dumps(how))


def write_tokenizer(folder: Path, config: dict[str, Any]) -> None:
    """Word pieces for ALIGN, as vocab.txt; sentence pieces for AltCLIP, as tokenizer.json."""
    letters = list(string.ascii_lowercase)
    if config["model_type"] == "align":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        longer = [word for word in WORDS if len(word) > 1]
        pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *longer]
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        limit = {"model_max_length": CONTEXT_LENGTH}
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **limit}))
        return
    from transformers import XLMRobertaTokenizer

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    scored = [(f"▁{word}", -3.0) for word in WORDS] + [(x, -6.0) for x in ["▁", *letters]]
    vocabulary = [*((token, 0.0) for token in special), *scored, ("<mask>", 0.0)]
    backend = XLMRobertaTokenizer(vocab=vocabulary, model_max_length=CONTEXT_LENGTH)
    backend.save_pretrained(str(folder))


def write_checkpoint(folder: Path, config: dict[str, Any], **more: np.ndarray) -> Path:
    """Write a whole checkpoint with its weights, and more tensors, in model.safetensors."""
    write_config(folder, config)
    write_tokenizer(folder, config)
    write_tensors(folder, family_tensors(config) | more)
    return folder


def write_tensors(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write model.safetensors."""
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
