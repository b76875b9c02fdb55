"""A model's prediction as an ONNX graph, in a folder that Triton serves as it is."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

from jaxcbm.extras import import_extra
from jaxcbm.model.export.program import prediction_of
from jaxcbm.model.model import Model

OUTPUTS = ("class_logits", "class_probabilities", "concept_activations")
NAME = "cbm"
# Pictures that Triton puts together; the graph itself takes any number.
_MOST = 64


def write_onnx(model: Model, folder: Path) -> None:
    """Write a model repository: `cbm/config.pbtxt` and `cbm/1/model.onnx`.

    The graph computes what `prediction_of` says from `pixels`, uint8 [B, S, S, 3], in float32.
    Weights of 2 GiB and more lie in a file of their own beside it.

    Args:
        model: in float32; its encoder is loaded if it is not yet.
        folder: that is not there yet.

    Raises:
        UserError: jax2onnx is missing; docs/exports.md says how it is installed.
    """
    # It pins an older orbax-checkpoint than ours, so that no extra can hold it.
    jax2onnx = import_extra("jax2onnx", "jax2onnx", "--onnx")
    predict, weights = prediction_of(model)
    size = model.loaded_encoder.image_size
    (batch,) = export.symbolic_shape("B")
    pixels = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)

    def listed(pixels_BxSxSx3: jax.Array) -> tuple[jax.Array, ...]:
        found = predict(weights, pixels_BxSxSx3)
        return tuple(found[name] for name in OUTPUTS)

    (folder / NAME / "1").mkdir(parents=True)
    jax2onnx.to_onnx(
        listed,
        [pixels],
        model_name=NAME,
        return_mode="file",
        output_path=folder / NAME / "1" / "model.onnx",
        input_names=["pixels"],
        output_names=OUTPUTS,
    )
    widths = len(model.classes), len(model.classes), len(model.concepts)
    (folder / NAME / "config.pbtxt").write_text(triton_config(size, widths), encoding="utf-8")


def triton_config(size: int, widths: tuple[int, ...]) -> str:
    """How Triton calls the graph: its types and shapes, requests put together into batches."""
    entry = '{{ name: "{}" data_type: {} dims: [ {} ] }}'
    shapes = zip(OUTPUTS, widths, strict=True)
    outputs = ",\n  ".join(entry.format(name, "TYPE_FP32", width) for name, width in shapes)
    return (
        f'name: "{NAME}"\nbackend: "onnxruntime"\nmax_batch_size: {_MOST}\n'
        f"input [\n  {entry.format('pixels', 'TYPE_UINT8', f'{size}, {size}, 3')}\n]\n"
        f"output [\n  {outputs}\n]\ndynamic_batching {{ }}\n"
    )
