"""CLIP ViT-B/32 with random weights, ours and torch's; imports each library only when asked."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcbm.encoders.dual_encoder import DualEncoder

# What Hugging Face's configs are without a value: ViT-B/32. A small one for a smoke test.
B32: dict[str, Any] = {"vision_config": {}, "text_config": {}, "projection_dim": 512}
L14: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    },
    "text_config": {},
    "projection_dim": 768,
}
TINY: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    },
    "text_config": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "projection_dim": 32,
}


def image_size(sizes: Mapping[str, Any]) -> int:
    """Pixels along an edge."""
    return sizes["vision_config"].get("image_size", 224)


def random_pixels(sizes: Mapping[str, Any], count: int) -> np.ndarray:
    """uint8 [count, S, S, 3]."""
    size = image_size(sizes)
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def our_encoder(
    sizes: Mapping[str, Any], dtype: str, weights: Mapping[str, np.ndarray] | None = None
) -> DualEncoder:
    """A `DualEncoder` with random weights, some of them replaced by `weights`; it has no tokenizer.

    Only pictures go through it.
    """
    from flax import nnx

    from jaxcbm.encoders.clip.config import ClipConfig
    from jaxcbm.encoders.clip.model import make_clip
    from jaxcbm.encoders.image.preprocess import Preprocess
    from jaxcbm.flat_params import split_flat

    config = ClipConfig.from_hf({"model_type": "clip", **sizes})
    graph, params = split_flat(make_clip(config, rngs=nnx.Rngs(0)))
    preprocess = Preprocess.square(config.vision.image_size)
    params = {**params, **(weights or {})}
    no_tokenizer: Any = None
    return DualEncoder(
        "random", "clip", config, graph, params, preprocess, no_tokenizer, dtype=dtype
    )


def torch_vision(sizes: Mapping[str, Any]) -> Any:
    """transformers' image tower, float32, scaled dot-product attention, for inference."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from benchmarks.machine import start_torch

    start_torch()
    torch.manual_seed(0)
    config = CLIPVisionConfig(**sizes["vision_config"], projection_dim=sizes["projection_dim"])
    config._attn_implementation = "sdpa"
    return CLIPVisionModelWithProjection(config).eval()


def torch_pixels(pixels_BxSxSx3: np.ndarray) -> Any:
    """The same pictures as torch's models take them: normalised float32 [B, 3, S, S]."""
    import torch

    from jaxcbm.encoders.image.preprocess import Preprocess

    how = Preprocess.square(pixels_BxSxSx3.shape[1])
    mean, std = np.float32(how.mean), np.float32(how.std)
    normalised = (pixels_BxSxSx3.astype(np.float32) * np.float32(how.scale) - mean) / std
    return torch.as_tensor(normalised.transpose(0, 3, 1, 2).copy())


def vision_weights(sizes: Mapping[str, Any], model: Any) -> dict[str, np.ndarray]:
    """A torch image tower's weights by our names."""
    from jaxcbm.encoders.checkpoint.convert import to_ours
    from jaxcbm.encoders.clip.weights import CLIP_IGNORED, CLIP_ROWS

    shapes = our_encoder(sizes, "float32").params
    shapes = {name: array for name, array in shapes.items() if name.startswith("vision.")}
    tensors = ((name, tensor.cpu().numpy()) for name, tensor in model.state_dict().items())
    rows = [row for row in CLIP_ROWS if row.ours.startswith("vision.")]
    return to_ours(tensors, shapes, rows, ignored=CLIP_IGNORED, where="torch")
