"""Readers of checkpoints and models that come from strangers, for the table of `readers`."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contract_cases import CASES
from flax import serialization
from hostile_bytes import SAFETENSORS, TORCH_ZIP, Shell
from readers import Reader
from safetensors.numpy import save_file
from torch_zip import write_torch_zip

from jaxcbm.encoders.checkpoint.tensor_files import read_tensors
from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.siglip.config import SiglipConfig
from jaxcbm.encoders.siglip.tokenizer import siglip_tokenizer
from jaxcbm.model.model import load_model
from jaxcbm.model.sealed_folder import write_header

_SPIECE = Path(__file__).parents[1] / "goldens" / "siglip_spiece.model"


def _encoder(
    case: str,
    *files: str,
    shell: Shell | None = None,
    also: Callable[[Path], object] = lambda _: None,
) -> Reader:
    def write(folder: Path) -> None:
        CASES[case].write(folder / "encoder", folder / "scratch")
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        also(folder / "encoder")

    def read(folder: Path) -> Any:
        encoder = load_encoder(folder / "encoder")
        encoder.preprocess(np.full((16, 16, 3), 100, np.uint8))
        ids = encoder.tokenizer(["a red bird", "", "\U0001f426 caf\xe9"])
        assert ids.min() >= 0 and ids.max() < encoder.config.text.vocab_size
        return [np.asarray(value) for value in encoder.params.values()]

    return Reader(write, {f"encoder/{name}": shell for name in files}, read)


def _write_tensors(kind: str) -> Callable[[Path], None]:
    tensors = {"a.weight": np.ones((4, 3), np.float32), "b.bias": np.zeros(4, np.float16)}

    def write(folder: Path) -> None:
        place = folder / "encoder"
        place.mkdir()
        if kind == "msgpack":
            tree = {"a": {"kernel": tensors["a.weight"].T}, "b": {"bias": tensors["b.bias"]}}
            (place / "flax_model.msgpack").write_bytes(serialization.msgpack_serialize(tree))
        else:
            write_torch_zip(place / "pytorch_model.bin", tensors)

    return write


def _read_tensors(folder: Path) -> None:
    for name, tensor in read_tensors(folder / "encoder"):
        assert isinstance(name, str)
        np.asarray(tensor)


def _shards(folder: Path) -> None:
    place = folder / "encoder"
    place.mkdir()
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for name, file in names.items():
        save_file({name: np.ones((2, 2), np.float32)}, place / file)
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def handed_in_model(trained: Path) -> Reader:
    """A model that a stranger has made: its hashes are right, its content need not be."""

    def write(folder: Path) -> None:
        shutil.copytree(trained / "model", folder / "model")

    def read(folder: Path) -> Any:
        header = folder / "model" / "model.json"
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(header.read_bytes())
            content = {name: value for name, value in content.items() if name != "sha256"}
            write_header(header, content)
        model = load_model(folder / "model")
        repr(model)
        embeddings = np.eye(16, dtype=np.float32)[:3]
        prediction = model.predict_embeddings(embeddings)
        return [np.asarray(prediction.class_logits), np.asarray(prediction.concept_activations)]

    names = ("model.safetensors", "sparse_path.safetensors", "calibration.safetensors")
    changed: dict[str, Shell | None] = {"model/model.json": None}
    changed |= {f"model/{name}": SAFETENSORS for name in names}
    return Reader(write, changed, read)


def _write_vocabulary(folder: Path) -> None:
    """A tokenizer as CLIP's older checkpoints have it."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines]) + "\n")


def _write_pieces(folder: Path) -> None:
    CASES["siglip gelu"].write(folder / "encoder", folder)
    shutil.copy(_SPIECE, folder / "encoder" / "spiece.model")


def _read_pieces(folder: Path) -> None:
    content = json.loads((folder / "encoder" / "config.json").read_text())
    content["text_config"]["vocab_size"] = 96
    ids = siglip_tokenizer(folder / "encoder", SiglipConfig.from_hf(content))(["a red bird", ""])
    assert ids.min() >= 0 and ids.max() < 96


_CONFIGS = ("config.json", "preprocessor_config.json")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_TENSORS = "model.safetensors"

CHECKPOINTS: dict[str, Reader] = {
    "config.json (CLIP)": _encoder("clip quick_gelu", *_CONFIGS),
    "config.json (SigLIP)": _encoder("siglip gelu", *_CONFIGS),
    "config.json (AltCLIP)": _encoder("altclip", *_CONFIGS),
    "config.json (ALIGN)": _encoder("align", *_CONFIGS),
    "open_clip_config.json": _encoder("open_clip top", "open_clip_config.json"),
    "tokenizer.json (CLIP)": _encoder("clip quick_gelu", *_TOKENIZER),
    "tokenizer.json (SigLIP)": _encoder("siglip tanh_gelu", *_TOKENIZER),
    "tokenizer.json (AltCLIP)": _encoder("altclip", *_TOKENIZER),
    "vocab.json, merges.txt": _encoder(
        "clip quick_gelu", "vocab.json", "merges.txt", also=_write_vocabulary
    ),
    "vocab.txt": _encoder("align", "vocab.txt"),
    "sentencepiece": Reader(_write_pieces, {"encoder/spiece.model": None}, _read_pieces),
    "safetensors": _encoder("clip quick_gelu", _TENSORS, shell=SAFETENSORS),
    "index of shards": Reader(
        _shards, {"encoder/model.safetensors.index.json": None}, _read_tensors
    ),
    "msgpack": Reader(
        _write_tensors("msgpack"), {"encoder/flax_model.msgpack": None}, _read_tensors
    ),
    "torch's zip": Reader(
        _write_tensors("torch"), {"encoder/pytorch_model.bin": TORCH_ZIP}, _read_tensors
    ),
}
