"""An exported folder: the model, its prediction as a program, and how to load either."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save_file

import jaxcbm
from jaxcbm.atomic import atomic_folder
from jaxcbm.encoders.checkpoint.copy import copy_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.export.onnx import write_onnx
from jaxcbm.model.export.program import PLATFORMS, ExportedProgram, make_program
from jaxcbm.model.export.readme import readme
from jaxcbm.model.model import Model
from jaxcbm.model.model_file import ENCODER_FOLDER

PROGRAM_FOLDER = "program"
ONNX_FOLDER = "onnx"


def export_model(
    model: Model,
    output: Path,
    *,
    with_encoder: bool = False,
    platforms: Sequence[str] = PLATFORMS,
    dtype: str = "float32",
    onnx: bool = False,
) -> ExportedProgram:
    """Write a model so that another machine serves it; the folder appears whole or not at all.

    `program/` needs jax alone; the folder itself is what `load_model` opens.

    Args:
        model: what to export.
        output: a folder that is not there yet, or is empty.
        with_encoder: add a copy of the encoder, so that `load_model` needs no hub and no name.
        platforms: what the program runs on.
        dtype: of the program's matrix products in the image tower, "float32" or "bfloat16".
        onnx: add the prediction as an ONNX graph in float32.

    Returns:
        The program, as it was written.

    Raises:
        UserError: the folder has something in it, the encoder cannot be found, or a package is
            missing.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"--output={output}: it is there already; delete it or name another")
    program = make_program(model.on(dtype=dtype), platforms)
    with atomic_folder(output) as temporary:
        model.save(temporary)
        if with_encoder:
            source = model.encoder_folder or model.encoder_name
            copy_encoder(source, temporary / ENCODER_FOLDER)
        _write_program(temporary / PROGRAM_FOLDER, program, model)
        if onnx:
            write_onnx(model.on(dtype="float32"), temporary / ONNX_FOLDER)
        preprocess = model.loaded_encoder.preprocess
        page = readme(
            program, preprocess, model.encoder_name, with_encoder=with_encoder, with_onnx=onnx
        )
        (temporary / "README.md").write_text(page, encoding="utf-8")
    return program


def _write_program(folder: Path, program: ExportedProgram, model: Model) -> None:
    folder.mkdir()
    neutral = [0.0] * len(model.concepts)
    if model.calibration is not None:
        neutral = [float(value) for value in model.calibration.neutral]
    (folder / "predict.stablehlo").write_bytes(program.serialised)
    save_file(
        {name: np.array(value, order="C") for name, value in program.weights.items()},
        folder / "weights.safetensors",
    )
    said = {
        "inputs": {"pixels": {"dtype": "uint8", "shape": ["b", *[program.image_size] * 2, 3]}},
        "outputs": {
            "class_logits": {"dtype": "float32", "shape": ["b", len(model.classes)]},
            "class_probabilities": {"dtype": "float32", "shape": ["b", len(model.classes)]},
            "concept_activations": {"dtype": "float32", "shape": ["b", len(model.concepts)]},
        },
        "classes": list(model.classes),
        "concepts": list(model.concepts.phrases),
        "neutral": neutral,
        "platforms": list(program.platforms),
        "dtype": program.dtype,
        "encoder": {"name": model.encoder_name, "hash": model.encoder_hash},
        "preprocessing": model.loaded_encoder.preprocess.to_hf(),
        "versions": {"jaxcbm": jaxcbm.__version__, "jax": jax.__version__},
    }
    (folder / "program.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
