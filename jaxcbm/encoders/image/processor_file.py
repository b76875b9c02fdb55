"""What a preprocessor_config.json says, in every form that such files have had."""

from collections.abc import Mapping
from typing import Annotated, Any

from PIL import Image

from jaxcbm.encoders.json_file import Pixels, field
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Range

Colours = tuple[float, float, float]

# What float32 can subtract, and divide by, and still be far from its ends.
Shift = Annotated[float, Range(-1e6, 1e6)]
Factor = Annotated[float, Range(1e-6, 1e6)]
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), bool),
    **dict.fromkeys(("do_pad", "rescale_offset", "include_top"), bool | None),
    "default_to_square": bool,
    "resample": Annotated[int, Range(0, max(Image.Resampling))],
    "rescale_factor": Factor,
}

_SQUARE: dict[str, Any] = {
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "default_to_square": True,
    "resample": int(Image.Resampling.BILINEAR),
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
        "resample": int(Image.Resampling.BICUBIC),
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    "ViT": _SQUARE,
    "Siglip": {**_SQUARE, "resample": int(Image.Resampling.BICUBIC)},
    "EfficientNet": {
        **_SQUARE,
        "size": {"height": 346, "width": 346},
        "resample": int(Image.Resampling.BICUBIC),
        "crop_size": {"height": 289, "width": 289},
        "rescale_offset": False,
        "include_top": True,
    },
}


def with_defaults(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings, and for those left out what the kind of processor means by it."""
    names = ("image_processor_type", "feature_extractor_type")
    kind = next(filter(None, (field(settings, n, str | None, where) for n in names)), "CLIP")
    for ending in ("Pil", "Fast", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    if kind not in _DEFAULTS:
        raise UserError(
            f"{where}: unknown image processor {kind!r} (supported: {', '.join(_DEFAULTS)})"
        )
    filled = {**_DEFAULTS[kind], **{k: v for k, v in settings.items() if v is not None}}
    return filled | {name: field(filled, name, kind, where) for name, kind in _KINDS.items()}


def read_size(
    size: Any, square: bool, where: str
) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """A size in any of its historic forms -> (shortest edge, longest edge, (height, width))."""
    if isinstance(size, int):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    if isinstance(size, list | tuple) and len(size) == 2:
        size = {"height": size[0], "width": size[1]}
    if isinstance(size, Mapping):
        if size.get("shortest_edge"):
            shortest = field(size, "shortest_edge", Pixels, where)
            longest = field(size, "longest_edge", Pixels | None, where)
            if longest is None or longest >= shortest:
                return shortest, longest, None
        elif size.get("height") and size.get("width"):
            height, width = (field(size, name, Pixels, where) for name in ("height", "width"))
            return None, None, (height, width)
    raise UserError(f"{where}: size {size!r} is not supported; give shortest_edge or height, width")


def height_width(size: tuple[int, int]) -> dict[str, int]:
    """A size in the form of today."""
    return {"height": size[0], "width": size[1]}


def read_normalisation(c: Mapping[str, Any], where: str) -> tuple[Colours, Colours]:
    """Everything that is subtracted and divided after scaling, as one mean and one deviation."""
    plain = not c["do_normalize"]
    mean = (0.0, 0.0, 0.0) if plain else read_colours(c, "image_mean", Shift, where)
    std = (1.0, 1.0, 1.0) if plain else read_colours(c, "image_std", Factor, where)
    if c["do_rescale"] and c.get("rescale_offset"):
        mean = (mean[0] + 1, mean[1] + 1, mean[2] + 1)
    if c.get("include_top"):  # EfficientNet's classifiers divide a second time
        again = read_colours(c, "image_std", Factor, where)
        std = (std[0] * again[0], std[1] * again[1], std[2] * again[2])
    return mean, std


def read_colours(c: Mapping[str, Any], name: str, kind: Any, where: str) -> Colours:
    """A field of three numbers, or of one for all three colours."""
    values = c[name] if isinstance(c[name], list | tuple) else [c[name]] * 3
    found = field({name: values}, name, tuple[kind, ...], where)
    if len(found) != 3:
        raise UserError(f"{where}: {name} must be three numbers, not {len(found)}")
    return found
