"""An open_clip_config.json as the sizes of our CLIP and as preprocessing.

open_clip knows many towers. The plain vision transformer and text transformer, which LAION,
DataComp, DFN, MetaCLIP and BioCLIP use, are CLIP's; every option that makes another tower of them
is refused by its name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from PIL import Image

from jaxcbm.encoders.clip.config import ClipConfig, ClipTextConfig
from jaxcbm.encoders.clip.model import LEGACY_END_OF_TEXT
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.encoders.image.processor_file import Factor, Shift, read_colours
from jaxcbm.encoders.json_file import Layers, Pixels, Size, field, read_json
from jaxcbm.encoders.nn.tower_config import Eps, VisionConfig
from jaxcbm.errors import UserError
from jaxcbm.typed_json import Range

OPEN_CLIP_CONFIG = "open_clip_config.json"

_Ratio = Annotated[float, Range(0.01, 100)]
# What a key left out means.
_TOWER: dict[str, Any] = {"layers": 12, "mlp_ratio": 4.0, "act_kwargs": None, "norm_kwargs": None}
_VISION = {**_TOWER, "width": 768, "head_width": 64, "patch_size": 16, "image_size": 224}
_TEXT = {**_TOWER, "width": 512, "heads": 8, "context_length": 77, "vocab_size": 49408}

# Options of training, and of parts that are not there unless another option asks for them.
_IDLE = ("patch_dropout", "output_tokens", "attn_pooler_queries", "attn_pooler_heads", "pad_id")
_IDLE_PREFIXES = ("timm_", "hf_")
# Options that must have these values, should they be there.
_PLAIN: dict[str, Any] = {
    "block_type": "default",
    "pos_embed_type": "learnable",
    "proj_type": "linear",
    "eos_id": LEGACY_END_OF_TEXT,
}
_POOLING = {"vision_cfg": "tok", "text_cfg": "argmax"}
_TOP = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "custom_text", "init_logit_scale")

_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "random": Image.Resampling.BICUBIC,  # what open_clip makes of it outside training
}


def open_clip_sizes(content: Mapping[str, Any]) -> ClipConfig:
    """Read the content of an open_clip_config.json.

    Args:
        content: the parsed file.

    Raises:
        UserError: a tower that is not CLIP's own, by the option that makes it another.
    """
    model = field(content, "model_cfg", dict[str, Any], OPEN_CLIP_CONFIG)
    for key, value in model.items():
        if key not in _TOP and value not in (None, False):
            raise _unsupported(key, value)
    vision = _section(model, "vision_cfg", _VISION)
    text = _section(model, "text_cfg", _TEXT)
    quick = bool(model.get("quick_gelu", False))
    return ClipConfig(
        vision=VisionConfig(
            **_tower(vision, quick),
            heads=max(1, vision["width"] // field(vision, "head_width", Size, OPEN_CLIP_CONFIG)),
            image_size=_square(vision["image_size"], "image_size"),
            patch_size=_square(vision["patch_size"], "patch_size"),
        ),
        text=ClipTextConfig(
            **_tower(text, quick),
            heads=field(text, "heads", Size, OPEN_CLIP_CONFIG),
            vocab_size=field(text, "vocab_size", Size, OPEN_CLIP_CONFIG),
            context_length=field(text, "context_length", Size, OPEN_CLIP_CONFIG),
            start_of_text_id=text["vocab_size"] - 2,
            end_of_text_id=LEGACY_END_OF_TEXT,  # open_clip pools at the highest id
        ),
        embed_dim=field({"embed_dim": 512, **model}, "embed_dim", Size, OPEN_CLIP_CONFIG),
        logit_scale_init=field(model, "init_logit_scale", float | None, OPEN_CLIP_CONFIG) or 2.6592,
    )


def open_clip_preprocess(folder: Path) -> Preprocess:
    """How pictures enter an open_clip model; alpha is laid on white here and dropped there.

    Args:
        folder: holds open_clip_config.json.

    Raises:
        UserError: a way of resizing that is not supported.
    """
    where = folder / OPEN_CLIP_CONFIG
    content = read_json(where, "a model's configuration")
    settings = field(content, "preprocess_cfg", dict[str, Any] | None, str(where)) or {}
    settings = {"mean": _OPENAI_MEAN, "std": _OPENAI_STD, **settings}
    size = open_clip_sizes(content).vision.image_size
    mode = settings.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise UserError(f"{where}: resize_mode {mode!r} is not supported; shortest and squash are")
    name = settings.get("interpolation", "bicubic")
    if name not in list(_FILTERS):
        raise UserError(f"{where}: interpolation {name!r} is not supported (of {list(_FILTERS)})")
    squash = mode == "squash"
    return Preprocess(
        shortest_edge=None if squash else size,
        longest_edge=None,
        resize=(size, size) if squash else None,
        crop=None if squash else (size, size),
        resample=int(_FILTERS[name]),
        scale=1 / 255,
        mean=read_colours(settings, "mean", Shift, str(where)),
        std=read_colours(settings, "std", Factor, str(where)),
        rounded_corner=True,
    )


def _section(model: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    kind = dict[str, Any] if name == "vision_cfg" else dict[str, Any] | None
    section = {**defaults, **(field(model, name, kind, OPEN_CLIP_CONFIG) or {})}
    if timm := section.get("timm_model_name"):
        raise UserError(
            f"{OPEN_CLIP_CONFIG}: its image tower is {timm!r} of the library timm, which is not "
            "supported; take a checkpoint with open_clip's own vision transformer"
        )
    if hf := section.get("hf_model_name") or section.get("hf_tokenizer_name"):
        raise UserError(
            f"{OPEN_CLIP_CONFIG}: its texts enter by {hf!r} of Hugging Face, which is not "
            "supported; take a checkpoint with CLIP's own text tower and tokenizer"
        )
    if isinstance(section["layers"], list):
        raise UserError(
            f"{OPEN_CLIP_CONFIG}: its image tower is a ResNet (layers {section['layers']}), which "
            "is not supported; take a vision transformer"
        )
    plain = {**_PLAIN, "pool_type": _POOLING[name]}
    for key, value in section.items():
        known = key in defaults or key in _IDLE or key.startswith(_IDLE_PREFIXES)
        if not known and value not in (None, False, plain.get(key)):
            raise _unsupported(f"{name}.{key}", value)
    return section


def _tower(section: Mapping[str, Any], quick_gelu: bool) -> dict[str, Any]:
    act, norm = (
        field(section, name, dict[str, Any] | None, OPEN_CLIP_CONFIG) or {}
        for name in ("act_kwargs", "norm_kwargs")
    )
    width = field(section, "width", Size, OPEN_CLIP_CONFIG)
    tanh = act.get("approximate") == "tanh"
    if act.keys() - {"approximate"} or (act and quick_gelu):
        raise _unsupported("act_kwargs", act)
    if norm.keys() - {"eps"}:
        raise _unsupported("norm_kwargs", norm)
    return {
        "width": width,
        "mlp_width": int(width * field(section, "mlp_ratio", _Ratio, OPEN_CLIP_CONFIG)),
        "layers": field(section, "layers", Layers, OPEN_CLIP_CONFIG),
        "activation": "quick_gelu" if quick_gelu else "gelu_pytorch_tanh" if tanh else "gelu",
        "eps": field({"eps": 1e-5, **norm}, "eps", Eps, OPEN_CLIP_CONFIG),
    }


def _square(value: Any, key: str) -> int:
    sides = value if isinstance(value, list | tuple) and len(value) == 2 else [value]
    if sides[0] != sides[-1]:
        raise UserError(f"{OPEN_CLIP_CONFIG}: {key} {value!r} is not supported; only squares are")
    return field({key: sides[0]}, key, Pixels, OPEN_CLIP_CONFIG)


def _unsupported(key: str, value: Any) -> UserError:
    return UserError(
        f"{OPEN_CLIP_CONFIG}: {key} {value!r} makes a tower that is not supported; take a "
        "checkpoint with open_clip's plain transformers"
    )
