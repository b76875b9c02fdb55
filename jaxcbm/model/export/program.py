"""A model's prediction as one portable program: pixels in, class logits out."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.model.model import CONCEPTS, Model

PLATFORMS = ("cpu", "cuda", "tpu")
Weights = Mapping[str, jax.Array]
Predict = Callable[[Weights, jax.Array], dict[str, jax.Array]]


class ExportedProgram(NamedTuple):
    """A compiled prediction and what it is called with.

    Attributes:
        serialised: StableHLO, for `jax.export.deserialize`.
        weights: arrays by name, the first argument; the second is uint8 [B, S, S, 3].
        image_size: S.
        dtype: of the operands of the image tower's matrix products.
        platforms: where it runs.
    """

    serialised: bytes
    weights: Mapping[str, np.ndarray]
    image_size: int
    dtype: str
    platforms: tuple[str, ...]


def prediction_of(model: Model) -> tuple[Predict, dict[str, jax.Array]]:
    """What an exported program computes, and the weights that it reads.

    It returns a dict of `class_logits` and `class_probabilities` [B, K] and `concept_activations`
    [B, D], float32.
    """
    weights = dict(model.weights)
    unread = weights.pop(CONCEPTS)

    def predict(given: Weights, pixels_BxSxSx3: jax.Array) -> dict[str, jax.Array]:
        # The encoder's own scores are no output, and the compiler drops what makes them.
        full = {**given, CONCEPTS: jnp.zeros(unread.shape, unread.dtype)}
        said = model.apply(full, pixels_BxSxSx3)
        return {
            "class_logits": said.class_logits,
            "class_probabilities": jax.nn.softmax(said.class_logits / said.temperature, axis=1),
            "concept_activations": said.concept_activations,
        }

    return predict, weights


def make_program(model: Model, platforms: Sequence[str] = PLATFORMS) -> ExportedProgram:
    """Compile `prediction_of` a model for several platforms and any batch size.

    The program takes the weights as an argument, so that it is a few hundred kilobytes and they lie
    in a file of their own; those that prediction never reads, such as the text tower's, are left
    out.

    Args:
        model: in the type that `Model.on` gave it; its encoder is loaded if it is not yet.
        platforms: of "cpu", "cuda", "rocm" and "tpu".

    Raises:
        UserError: an unknown platform, or the extra `export` is missing.
    """
    import_extra("flatbuffers", "jaxcbm[export]", "jaxcbm export")
    if unknown := sorted(set(platforms) - {*PLATFORMS, "rocm"}):
        raise UserError(f"unknown platform {unknown[0]!r}; give some of {', '.join(PLATFORMS)}")
    predict, weights = prediction_of(model)
    size = model.loaded_encoder.image_size
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in weights.items()}
    (batch,) = export.symbolic_shape("b")
    pixels = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
    program = export.export(jax.jit(predict), platforms=tuple(platforms))(shapes, pixels)
    read = {name: np.asarray(x) for name, x in weights.items()}
    dtype = model.loaded_encoder.dtype
    return ExportedProgram(bytes(program.serialize()), read, size, dtype, tuple(platforms))
