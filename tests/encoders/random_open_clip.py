"""Small open_clip checkpoints with random weights, in both naming styles."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from random_checkpoint import random_tensors
from random_clip import CONTEXT_LENGTH, write_tokenizer
from safetensors.numpy import save_file
from torch_zip import write_torch_zip

END = 571


def _config(vision: dict[str, Any], text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {
                "image_size": 32,
                "layers": 2,
                "width": 32,
                "head_width": 8,
                "patch_size": 8,
                **vision,
            },
            "text_cfg": {
                "context_length": CONTEXT_LENGTH,
                "vocab_size": 572,
                "width": 24,
                "heads": 3,
                "layers": 2,
                **text,
            },
            **more,
        },
        "preprocess_cfg": {
            "mean": [0.48145466, 0.4578275, 0.40821073],
            "std": [0.26862954, 0.26130258, 0.27577711],
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


VARIANTS: dict[str, dict[str, Any]] = {
    # Texts at the top level, gelu since nothing is said, options of training that change nothing.
    "top": _config({"patch_dropout": 0.5, "mlp_ratio": 1.5}, {}),
    # Texts under `text.`, quick_gelu, another epsilon in each tower.
    "text": _config(
        {"norm_kwargs": {"eps": 1e-3}, "pool_type": "tok"},
        {"norm_kwargs": {"eps": 1e-2}, "pool_type": "argmax", "no_causal_mask": False},
        custom_text=True,
        quick_gelu=True,
    ),
    # gelu by tanh, as some later configurations ask for.
    "tanh": _config(
        {"act_kwargs": {"approximate": "tanh"}}, {"act_kwargs": {"approximate": "tanh"}}
    ),
}
# How pictures are resized, and pictures that leave an odd number of rows or columns to cut.
TRANSFORMS = {
    "shortest": ("shortest", "bicubic"),
    "bilinear": ("shortest", "bilinear"),
    "squash": ("squash", "bicubic"),
}
PICTURES = [
    np.random.RandomState(n).randint(0, 256, (height, width, 3)).astype(np.uint8)
    for n, (height, width) in enumerate([(35, 32), (32, 37), (70, 48), (20, 51), (32, 32)])
]


def open_clip_tensors(variant: str) -> dict[str, np.ndarray]:
    """Weights as open_clip names them: queries, keys and values in one tensor."""
    config = VARIANTS[variant]
    tensors = random_tensors("open_clip", config)
    joined = {}
    for name, tensor in tensors.items():
        if ".q_proj." in name:
            parts = [tensors[name.replace(".q_proj.", f".{p}_proj.")] for p in "qkv"]
            joined[name.replace(".q_proj.", ".in_proj_")] = np.concatenate(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            joined[name] = tensor
    if not config["model_cfg"].get("custom_text"):
        return joined
    kept = ("visual.", "logit_scale")
    return {n if n.startswith(kept) else f"text.{n}": a for n, a in joined.items()}


def random_inputs(config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised pixels float32 [4, S, S, 3] and ids int32 [4, T], filled up with 0."""
    random = np.random.RandomState(7)
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    pixels_BxSxSx3 = random.standard_normal((4, size, size, 3)).astype(np.float32)
    ids_BxT = random.randint(0, END - 1, (4, CONTEXT_LENGTH)).astype(np.int32)
    for row_T, end in zip(ids_BxT, (4, 7, 9, 19), strict=True):
        row_T[end:] = 0
        row_T[end] = END
    return pixels_BxSxSx3, ids_BxT


def write_checkpoint(folder: Path, variant: str, scratch: Path) -> Path:
    """Write a whole checkpoint; the style `text.` as a torch file, the other as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(VARIANTS[variant]))
    write_tokenizer(folder, scratch)
    tensors = open_clip_tensors(variant)
    if variant == "text":
        write_torch_zip(folder / "open_clip_pytorch_model.bin", tensors)
    else:
        save_file(tensors, folder / "open_clip_model.safetensors")
    return folder
