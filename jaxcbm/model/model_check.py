"""Whether the parts of a saved model belong together: a stranger may have written any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.errors import UserError
from jaxcbm.model.edits import Edit
from jaxcbm.typed_json import Range


@dataclass(frozen=True)
class EncoderSaid:
    """The encoder that a model was trained on.

    Attributes:
        name: by which `load_encoder` finds it.
        hash: of its content.
        image_size: height and width of the pictures; 0 for the checkpoint's own.
    """

    name: str
    hash: str
    image_size: Annotated[int, Range(0, 8192)] = 0


@dataclass(frozen=True)
class ModelHeader:
    """The content of model.json.

    Attributes:
        format: version of the folder.
        config: of the bottleneck.
        concepts: as `ConceptSet.to_json` wrote them.
        classes: K names.
        encoder: that it was trained on.
        logit_scale, logit_bias: the encoder's.
        metrics: of the fit.
        files: that lie beside it.
        edits: of the model, oldest first.
    """

    format: int
    config: BottleneckConfig
    concepts: Any
    classes: tuple[str, ...]
    encoder: EncoderSaid
    logit_scale: float
    logit_bias: float
    metrics: dict[str, Any]
    files: dict[str, Any]
    edits: tuple[Edit, ...] = ()


def check_tensors(
    file: Path, header: ModelHeader, concepts: int, tensors: Mapping[str, np.ndarray]
) -> None:
    """Refuse arrays that are not those of a model of this config, or hold no numbers.

    Args:
        file: for the message.
        header: of the model.
        concepts: D.
        tensors: of model.safetensors.

    Raises:
        UserError: names the first array that is missing, of another shape, or not finite.
    """
    (inputs,), (width,) = (
        tensors[name].shape[-1:] if name in tensors and tensors[name].ndim else (0,)
        for name in ("input_map.bias", "concept_embeddings")
    )
    params = jax.eval_shape(
        lambda: build_bottleneck(header.config, inputs, concepts, len(header.classes))[1]
    )
    wanted = {f"params.{name}": tuple(value.shape) for name, value in params.items()}
    wanted |= {"input_map.bias": (inputs,), "concept_embeddings": (concepts, width)}
    if "input_map.kernel" in tensors or inputs != width:
        wanted["input_map.kernel"] = (width, inputs)
    for name, shape in wanted.items():
        if name not in tensors or tensors[name].shape != shape:
            found = f"of shape {list(tensors[name].shape)}" if name in tensors else "missing"
            raise UserError(f"{file}: {name} is {found}, not {list(shape)}; take another copy")
    for name, array in tensors.items():
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise UserError(f"{file}: {name} holds inf, NaN or no numbers; take another copy")
