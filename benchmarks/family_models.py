"""One full-size model of each family with random weights, ours and torch's with equal ones."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.encoders.dual_encoder import DualEncoder

# What Hugging Face's configs are without a value is not written.
_CLIP = {"model_type": "clip", "projection_dim": 512, "text_config": {}}
_LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}


class Model(NamedTuple):
    """One model.

    Attributes:
        title: for readers.
        kind: key of `FAMILIES`.
        config: what the checkpoint's configuration file says.
        torch: the same in transformers' words, where it is not what `config` says.
        batch: pictures a step that suits its size.
        phrases: in a measurement.
    """

    title: str
    kind: str
    config: Mapping[str, Any]
    torch: Mapping[str, Any] | None = None
    batch: int = 16
    phrases: int = 128


_OPEN_CLIP_SIZES = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 512,
        "heads": 8,
        "layers": 12,
    },
}
MODELS: dict[str, Model] = {
    "clip_b32": Model("CLIP ViT-B/32", "clip", {**_CLIP, "vision_config": {}}),
    "clip_b16": Model("CLIP ViT-B/16", "clip", {**_CLIP, "vision_config": {"patch_size": 16}}),
    "siglip": Model(
        "SigLIP base, patches of 16",
        "siglip",
        {
            "model_type": "siglip",
            "vision_config": {"image_size": 224, "patch_size": 16},
            "text_config": {},
        },
        phrases=32,
    ),
    "altclip": Model(
        "AltCLIP",
        "altclip",
        {
            "model_type": "altclip",
            "projection_dim": 768,
            "text_config": {},
            "vision_config": {**_LARGE, "num_attention_heads": 16, "patch_size": 14},
        },
        batch=4,
        phrases=64,
    ),
    "align": Model(
        "ALIGN base",
        "align",
        {"model_type": "align", "text_config": {}, "vision_config": {"image_size": 289}},
        batch=8,
    ),
    "open_clip": Model(
        "open_clip ViT-B/32",
        "open_clip",
        {"model_cfg": _OPEN_CLIP_SIZES},
        torch={
            **_CLIP,
            "vision_config": {"hidden_act": "gelu"},
            "text_config": {"hidden_act": "gelu", "eos_token_id": 49407},
        },
    ),
}


class Choice(NamedTuple):
    """A model, whole or cut to save memory.

    Attributes:
        name: key of `MODELS`.
        tower: "vision" or "text" leaves the other one a single layer; "" keeps both.
        tiny: a few narrow layers in both, for a smoke test.
    """

    name: str
    tower: str = ""
    tiny: bool = False


def chosen(choice: Choice) -> Model:
    """The model, cut as the choice says."""
    model = MODELS[choice.name]
    keep, tiny = choice.tower, choice.tiny
    if model.torch is None:
        return model._replace(config=_cut(model.config, keep, tiny))
    sizes = {
        name: {**value, **_open_clip_cut(name, keep, tiny)} if name.endswith("_cfg") else value
        for name, value in model.config["model_cfg"].items()
    }
    return model._replace(config={"model_cfg": sizes}, torch=_cut(model.torch, keep, tiny))


def _open_clip_cut(name: str, keep: str, tiny: bool) -> dict[str, int]:
    wide = {"vision_cfg": {"image_size": 64, "head_width": 32}, "text_cfg": {"heads": 2}}[name]
    if tiny:
        return {"layers": 2, "width": 64, "mlp_ratio": 2, **wide}
    return {} if keep in ("", name.removesuffix("_cfg")) else {"layers": 1}


def _cut(config: Mapping[str, Any], keep: str, tiny: bool) -> dict[str, Any]:
    towers: dict[str, Any] = {}
    for name in ("vision_config", "text_config"):
        efficient = config["model_type"] == "align" and name == "vision_config"
        changes: dict[str, Any] = {}
        if tiny:
            changes = {"image_size": 64} if name == "vision_config" else {}
            changes |= {"depth_coefficient": 0.3} if efficient else _SMALL
        elif keep and keep != name.removesuffix("_config") and not efficient:
            changes = {"num_hidden_layers": 1}
        towers[name] = {**config[name], **changes}
    return {**config, **towers}


@functools.lru_cache(maxsize=1)
def our_weights(choice: Choice) -> tuple[Any, Any, dict[str, np.ndarray]]:
    """Sizes, graph and random arrays by path; those of the last choice are kept."""
    from flax import nnx

    from jaxcbm.encoders.families import FAMILIES
    from jaxcbm.flat_params import abstract

    model = chosen(choice)
    family = FAMILIES[model.kind]
    config = family.config(model.config)
    graph, shapes = abstract(lambda: family.model(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    return config, graph, {name: _draw(rng, name, x.shape) for name, x in shapes.items()}


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that keep activations of about unit size: neither infinite nor denormal."""
    if name.endswith(("scale", "variance")):
        return np.ones(shape, np.float32)
    fan_in = int(np.prod(shape[:-1])) if name.endswith((".kernel", ".matrix", ".window")) else 2500
    return rng.standard_normal(shape, np.float32) * np.float32(fan_in**-0.5)


def our_encoder(choice: Choice, dtype: str) -> DualEncoder:
    """A `DualEncoder` whose phrases are numbers: those of the rows of `token_ids`."""
    import jax

    from jaxcbm.encoders.image.preprocess import Preprocess
    from jaxcbm.encoders.tokenizer import Tokenizer

    config, graph, arrays = our_weights(choice)
    model = chosen(choice)
    ids = token_ids(choice)
    tokenizer = Tokenizer(
        backend=lambda texts, **_: {"input_ids": [ids[int(text)] for text in texts]},
        context_length=context_length(choice),
        end_of_text_id=ids[0][-1],
        digest="",
        pad_id=pad_id(choice),
        full_rows=model.kind == "siglip",
    )
    preprocess = Preprocess.square(config.vision.image_size)
    params = {name: jax.device_put(array) for name, array in arrays.items()}
    return DualEncoder(
        model.title, model.kind, config, graph, params, preprocess, tokenizer, dtype=dtype
    )


def context_length(choice: Choice) -> int:
    """The most tokens that a phrase may have."""
    text = our_weights(choice)[0].text
    return getattr(text, "context_length", 64)


def pad_id(choice: Choice) -> int | None:
    """What fills a row up where it is not the end of the text."""
    return getattr(our_weights(choice)[0].text, "pad_id", None)


def token_ids(choice: Choice) -> list[list[int]]:
    """Random phrases of 5 to 12 tokens, about as long as concepts are; the last one ends them."""
    text = our_weights(choice)[0].text
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 12, chosen(choice).phrases)
    top = text.vocab_size - 10
    # The end of a text is the last id of CLIP's vocabulary; other towers do not look for it.
    end = text.vocab_size - 1
    return [[*rng.integers(10, top, length).tolist(), end] for length in lengths]


def torch_model(choice: Choice) -> Any:
    """transformers' model with our weights: float32, its own attention, for inference."""
    import torch
    from transformers import MODEL_MAPPING, AutoConfig
    from transformers.utils import logging

    from benchmarks.machine import threads
    from jaxcbm.encoders.checkpoint.convert import to_theirs
    from jaxcbm.encoders.families import FAMILIES

    torch.set_num_threads(threads())
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = chosen(choice)
    said = dict(model.torch or model.config)
    kind = said.pop("model_type")
    arrays = to_theirs(our_weights(choice)[2], FAMILIES[kind].rows)
    tensors = {
        name: torch.from_numpy(np.array(array, order="C", copy=True)) for name, array in arrays
    }
    config = AutoConfig.for_model(kind, **said)
    built, loading = MODEL_MAPPING[type(config)].from_pretrained(
        None,
        config=config,
        state_dict=tensors,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if loading["unexpected_keys"] or loading["mismatched_keys"]:
        raise ValueError(f"torch reads the weights otherwise: {loading}")
    return built.eval()


def torch_rows(choice: Choice, ids: list[list[int]]) -> dict[str, Any]:
    """A batch of phrases as transformers' processors make it: padded to the longest of them.

    SigLIP's are padded to the full length, as it was trained, and have no mask.
    """
    import torch

    full = chosen(choice).kind == "siglip"
    length = context_length(choice) if full else max(map(len, ids))
    fill = pad_id(choice)
    rows = np.full((len(ids), length), ids[0][-1] if fill is None else fill)
    for row, phrase in zip(rows, ids, strict=True):
        row[: len(phrase)] = phrase
    made = {"input_ids": torch.from_numpy(rows)}
    if not full:
        counts = np.array([len(phrase) for phrase in ids])
        real = np.arange(length)[None] < counts[:, None]
        made["attention_mask"] = torch.from_numpy(real.astype(np.int64))
    return made
