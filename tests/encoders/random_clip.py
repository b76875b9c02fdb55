"""Small CLIP checkpoints with random weights, in every shape that the tests need.

Arrays come from `np.random.RandomState`, whose stream is frozen, so that the goldens need not
store any weights.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from jaxcbm.encoders.tokenizer import TOKENIZER_FILES, train_tokenizer

CONTEXT_LENGTH = 20
CAPTIONS = (
    "a photo of a small bird with a red crown and a yellow belly",
    "a large bird, its wings are striped and its bill is hooked",
    "an ankle boot seen from the side, grey with a dark sole",
)


def _config(vision: dict[str, Any], text: dict[str, Any], projection_dim: int) -> dict[str, Any]:
    return {
        "model_type": "clip",
        "projection_dim": projection_dim,
        "logit_scale_init_value": 2.6592,
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
            "vocab_size": 600,
            "max_position_embeddings": CONTEXT_LENGTH,
            "bos_token_id": 570,
            "eos_token_id": 571,
            "pad_token_id": 571,
            **text,
        },
    }


# Each differs from the others in more than one respect that a port can get wrong.
VARIANTS: dict[str, dict[str, Any]] = {
    # The defaults left out, and the real end-of-text id with higher ids in the texts.
    "quick_gelu": _config({}, {}, 40),
    # The legacy pooling rule, a remainder that no patch covers, another epsilon in each tower.
    "gelu": _config(
        {"hidden_act": "gelu", "image_size": 30, "layer_norm_eps": 1e-3},
        {"hidden_act": "gelu", "eos_token_id": 2, "layer_norm_eps": 1e-2},
        16,
    ),
    # One head as wide as the tower in one, width-4 heads in the other; towers of unequal depth.
    "tanh_gelu": _config(
        {"hidden_act": "gelu_pytorch_tanh", "num_attention_heads": 1, "patch_size": 16},
        {"hidden_act": "gelu_new", "num_attention_heads": 6, "num_hidden_layers": 3},
        24,
    ),
}


def tensor_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that Hugging Face's CLIPModel has."""
    vision, text, embed = config["vision_config"], config["text_config"], config["projection_dim"]
    patch, width = vision["patch_size"], vision["hidden_size"]
    positions = (vision["image_size"] // patch) ** 2 + 1
    shapes: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "text_projection.weight": (embed, text["hidden_size"]),
        "visual_projection.weight": (embed, width),
        "text_model.embeddings.token_embedding.weight": (text["vocab_size"], text["hidden_size"]),
        "text_model.embeddings.position_embedding.weight": (
            text["max_position_embeddings"],
            text["hidden_size"],
        ),
        "vision_model.embeddings.class_embedding": (width,),
        "vision_model.embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "vision_model.embeddings.position_embedding.weight": (positions, width),
    }
    for name, n in (
        ("vision_model.pre_layrnorm", width),
        ("vision_model.post_layernorm", width),
        ("text_model.final_layer_norm", text["hidden_size"]),
    ):
        shapes |= {f"{name}.weight": (n,), f"{name}.bias": (n,)}
    for tower, c in (("vision_model", vision), ("text_model", text)):
        n, hidden = c["hidden_size"], c["intermediate_size"]
        for i in range(c["num_hidden_layers"]):
            layer = f"{tower}.encoder.layers.{i}"
            for norm in ("layer_norm1", "layer_norm2"):
                shapes |= {f"{layer}.{norm}.weight": (n,), f"{layer}.{norm}.bias": (n,)}
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                name = f"{layer}.self_attn.{part}"
                shapes |= {f"{name}.weight": (n, n), f"{name}.bias": (n,)}
            for part, (outputs, inputs) in (("fc1", (hidden, n)), ("fc2", (n, hidden))):
                name = f"{layer}.mlp.{part}"
                shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return shapes


def random_tensors(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """float32 weights large enough that every part of the model shows in the embeddings."""
    random = np.random.RandomState(seed)
    tensors = {}
    for name, shape in sorted(tensor_shapes(config).items()):
        values = random.standard_normal(shape)
        spread = 0.5 if len(shape) < 2 else 1.5 / np.sqrt(np.prod(shape[1:]))
        base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        tensors[name] = np.asarray(base + spread * values, np.float32)
    tensors["logit_scale"] = np.array(3.0, np.float32)
    return tensors


def random_inputs(config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pixels float32 [4, S, S, 3] and token ids int32 [4, 12], filled up behind the end.

    Every text has ids above the end-of-text id before it, as tokens added to a vocabulary have.
    """
    random = np.random.RandomState(7)
    size, text = config["vision_config"]["image_size"], config["text_config"]
    pixels_BxSxSx3 = random.standard_normal((4, size, size, 3)).astype(np.float32)
    ids_BxT = random.randint(0, 570, (4, 12)).astype(np.int32)
    ids_BxT[:, 0] = text["bos_token_id"]
    ids_BxT[:, 2] = random.randint(572, 600, 4)
    for row_T, end in zip(ids_BxT, (4, 7, 9, 11), strict=True):
        row_T[end:] = 571
    return pixels_BxSxSx3, ids_BxT


@cache
def _tokenizer_files(scratch: Path) -> Path:
    folder = scratch / "tokenizer"
    train_tokenizer(CAPTIONS, 572, folder, context_length=CONTEXT_LENGTH)
    return folder


def write_tokenizer(folder: Path, scratch: Path) -> None:
    """Put a tokenizer of 572 tokens into a checkpoint; it is trained once for each `scratch`."""
    source = _tokenizer_files(scratch)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            (folder / name).write_bytes((source / name).read_bytes())


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write config.json and a preprocessor file that fits it."""
    size = config["vision_config"]["image_size"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    preprocessor = {"image_processor_type": "CLIPImageProcessor", "size": size, "crop_size": size}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def write_checkpoint(folder: Path, config: dict[str, Any], scratch: Path) -> Path:
    """Write a whole checkpoint with its weights in model.safetensors."""
    write_config(folder, config)
    write_tokenizer(folder, scratch)
    save_file(random_tensors(config), folder / "model.safetensors", metadata={"format": "pt"})
    return folder
