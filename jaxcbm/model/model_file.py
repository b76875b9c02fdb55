"""A model as a folder: `model.json`, `model.safetensors`, and a file for each part that it has."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxcbm.atomic import atomic_folder
from jaxcbm.bottleneck.scores import InputMap
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.finetune.finetuned import apply_finetuned, load_finetuned, save_finetuned
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.calibration import Calibration
from jaxcbm.model.familiarity import Familiarity
from jaxcbm.model.model_check import ModelHeader, check_tensors
from jaxcbm.model.record_file import load_record, save_record
from jaxcbm.model.sealed_folder import read_header, write_header
from jaxcbm.model.sparse_path_file import load_sparse_path, save_sparse_path
from jaxcbm.typed_json import from_json, to_json

if TYPE_CHECKING:
    from jaxcbm.model.model import Model

FORMAT = 2
FINETUNED_FILE = "encoder.safetensors"
SPARSE_PATH_FILE = "sparse_path.safetensors"
CALIBRATION_FILE = "calibration.safetensors"
FAMILIARITY_FILE = "familiarity.safetensors"
# What a model may have or not.
PARTS = (FINETUNED_FILE, SPARSE_PATH_FILE, CALIBRATION_FILE, FAMILIARITY_FILE)
ENCODER_FOLDER = "encoder"
# Sizes that a record shares with its model; "" is free, and a number has none.
_CALIBRATION = dict(
    **dict.fromkeys(("slope", "intercept", "mean", "absent", "present"), ("D",)),
    temperature=(),
    quantiles=("", "D"),
    frequencies=("K", "D"),
)
_FAMILIARITY = dict(
    **dict.fromkeys(("set_threshold", "least_probability"), ()),
    center=("E",),
    axes=("E", "E"),
    means=("", "E"),
    valid_distances=("",),
)


def save_fields(model: "Model", folder: Path | str) -> None:
    """See `Model.save`."""
    tensors = {f"params.{path}": np.asarray(value) for path, value in model.params.items()}
    tensors["input_map.bias"] = np.asarray(model.input_map.bias)
    if model.input_map.kernel is not None:
        tensors["input_map.kernel"] = np.asarray(model.input_map.kernel)
    tensors["concept_embeddings"] = np.asarray(model.concept_embeddings)
    header = {
        "format": FORMAT,
        "config": dataclasses.asdict(model.config),
        "concepts": model.concepts.to_json(),
        "classes": list(model.classes),
        "encoder": {
            "name": model.encoder_name,
            "hash": model.encoder_hash,
            "image_size": model.encoder_image_size,
        },
        "logit_scale": model.logit_scale,
        "logit_bias": model.logit_bias,
        "metrics": dict(model.metrics),
        **({"edits": to_json(model.edits)} if model.edits else {}),
    }
    with atomic_folder(folder) as temporary:
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()},
            temporary / "model.safetensors",
        )
        if model.finetuned is not None:
            save_finetuned(temporary / FINETUNED_FILE, model.finetuned)
        if model.sparse_path is not None:
            save_sparse_path(temporary / SPARSE_PATH_FILE, model.sparse_path)
        if model.calibration is not None:
            save_record(temporary / CALIBRATION_FILE, model.calibration)
        if model.familiarity is not None:
            save_record(temporary / FAMILIARITY_FILE, model.familiarity)
        write_header(temporary / "model.json", header)


def load_fields(folder: Path | str, encoder: DualEncoder | str | Path | None) -> dict[str, Any]:
    """The fields of the model in a folder, by name; see `load_model`."""
    folder = Path(folder).expanduser()
    place = folder / "model" if (folder / "model" / "model.json").exists() else folder
    if not (place / "model.json").exists():
        raise UserError(f"no finished model in {folder}: run `jaxcbm train --workdir={folder}`")
    where, content = str(place / "model.json"), read_header(place / "model.json")
    if content.get("format") != FORMAT:
        raise UserError(f"{place}: written by another version of jaxcbm; train it again")
    header = from_json(ModelHeader, content, where)
    concepts = ConceptSet.from_json(header.concepts, where)
    try:
        tensors = load_file(place / "model.safetensors")
    except SafetensorError as error:
        raise UserError(f"{place / 'model.safetensors'}: damaged ({error})") from error
    check_tensors(place / "model.safetensors", header, len(concepts), tensors)
    saved = {name: place / name for name in header.files}
    finetuned = load_finetuned(saved[FINETUNED_FILE]) if FINETUNED_FILE in saved else None
    image_size = header.encoder.image_size
    if encoder is not None:
        encoder = load_encoder(encoder, image_size=image_size or None)
        encoder = encoder if finetuned is None else apply_finetuned(encoder, finetuned)
    kernel: Any = tensors.get("input_map.kernel")
    bias: Any = tensors["input_map.bias"]
    params = {
        name.removeprefix("params."): value
        for name, value in tensors.items()
        if name.startswith("params.")
    }
    # Models with a trained head have no path.
    path, record, familiarity = (
        saved.get(name) for name in (SPARSE_PATH_FILE, CALIBRATION_FILE, FAMILIARITY_FILE)
    )
    sizes = {"D": len(concepts), "K": len(header.classes)}
    sizes["E"] = tensors["concept_embeddings"].shape[1]
    return dict(
        config=header.config,
        params=params,
        input_map=InputMap(kernel, bias),
        concepts=concepts,
        concept_embeddings=tensors["concept_embeddings"],
        classes=header.classes,
        encoder_name=header.encoder.name,
        encoder_hash=header.encoder.hash,
        encoder=encoder,
        encoder_image_size=image_size,
        encoder_folder=beside if (beside := place / ENCODER_FOLDER).is_dir() else None,
        logit_scale=header.logit_scale,
        logit_bias=header.logit_bias,
        metrics=header.metrics,
        edits=header.edits,
        finetuned=finetuned,
        sparse_path=load_sparse_path(path, params) if path else None,
        calibration=load_record(record, Calibration, _CALIBRATION, sizes) if record else None,
        familiarity=(
            load_record(familiarity, Familiarity, _FAMILIARITY, sizes) if familiarity else None
        ),
    )
