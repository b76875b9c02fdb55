"""What a preprocessor_config.json says, in every form that such files have had."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from jaxcbm.errors import UserError

Colours = tuple[float, float, float]

_SQUARE: dict[str, Any] = {
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "default_to_square": True,
    "resample": Image.Resampling.BILINEAR,
    "do_center_crop": False,
    "crop_size": None,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
# What a preprocessor file that leaves a key out means by it, by the kind of processor.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIP": {
        **_SQUARE,
        "size": {"shortest_edge": 224},
        "default_to_square": False,
        "resample": Image.Resampling.BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    "ViT": _SQUARE,
    "Siglip": {**_SQUARE, "resample": Image.Resampling.BICUBIC},
    "EfficientNet": {
        **_SQUARE,
        "size": {"height": 346, "width": 346},
        "resample": Image.Resampling.BICUBIC,
        "crop_size": {"height": 289, "width": 289},
        "rescale_offset": False,
        "include_top": True,
    },
}


def with_defaults(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings, and for those left out what the kind of processor means by it."""
    kind = settings.get("image_processor_type") or settings.get("feature_extractor_type") or "CLIP"
    for ending in ("Pil", "Fast", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    if kind not in _DEFAULTS:
        raise UserError(
            f"{where}: unknown image processor {kind!r} (supported: {', '.join(_DEFAULTS)})"
        )
    return {**_DEFAULTS[kind], **{k: v for k, v in settings.items() if v is not None}}


def read_size(
    size: Any, square: bool, where: str
) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """A size in any of its historic forms -> (shortest edge, longest edge, (height, width))."""
    if isinstance(size, int):
        return (None, None, (size, size)) if square else (size, None, None)
    if isinstance(size, list | tuple) and len(size) == 2:
        return None, None, (size[0], size[1])
    if isinstance(size, Mapping):
        if size.get("shortest_edge"):
            return size["shortest_edge"], size.get("longest_edge"), None
        if size.get("height") and size.get("width"):
            return None, None, (size["height"], size["width"])
    raise UserError(f"{where}: size {size!r} is not supported; give shortest_edge or height, width")


def height_width(size: tuple[int, int]) -> dict[str, int]:
    """A size in the form of today."""
    return {"height": size[0], "width": size[1]}


def read_normalisation(c: Mapping[str, Any]) -> tuple[Colours, Colours]:
    """Everything that is subtracted and divided after scaling, as one mean and one deviation."""
    plain = not c["do_normalize"]
    mean = (0.0, 0.0, 0.0) if plain else _colours(c["image_mean"])
    std = (1.0, 1.0, 1.0) if plain else _colours(c["image_std"])
    if c["do_rescale"] and c.get("rescale_offset"):
        mean = _colours([m + 1 for m in mean])
    if c.get("include_top"):  # EfficientNet's classifiers divide a second time
        std = _colours([a * b for a, b in zip(std, _colours(c["image_std"]), strict=True)])
    return mean, std


def _colours(values: Any) -> Colours:
    red, green, blue = (values,) * 3 if isinstance(values, int | float) else values
    return float(red), float(green), float(blue)
