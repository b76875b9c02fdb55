"""A model's prediction as one portable program: pixels in, class logits out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxcbm.bottleneck.scores import InputMap, apply_map
from jaxcbm.encoders.finetune.finetuned import group
from jaxcbm.errors import UserError
from jaxcbm.extras import import_extra
from jaxcbm.model.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


class ExportedProgram(NamedTuple):
    """A compiled prediction and what it is called with.

    Attributes:
        serialised: StableHLO, for `jax.export.deserialize`.
        weights: float32 arrays by name, the first argument; the second is uint8 [B, S, S, 3].
        image_size: S.
        platforms: where it runs.
    """

    serialised: bytes
    weights: Mapping[str, np.ndarray]
    image_size: int
    platforms: tuple[str, ...]


def make_program(model: Model, platforms: Sequence[str] = PLATFORMS) -> ExportedProgram:
    """Compile `model.predict` for several platforms and any batch size.

    The program takes the weights as an argument, so that it is a few hundred kilobytes and they lie
    in a file of their own; those that prediction never reads, such as the text tower's, are left
    out. It returns a dict of `class_logits` and `class_probabilities` [B, K] and
    `concept_activations` [B, D], float32.

    Args:
        model: its encoder is loaded if it is not yet.
        platforms: of "cpu", "cuda", "rocm" and "tpu".

    Raises:
        UserError: an unknown platform, or the extra `export` is missing.
    """
    import_extra("flatbuffers", "jaxcbm[export]", "jaxcbm export")
    if unknown := sorted(set(platforms) - {*PLATFORMS, "rocm"}):
        raise UserError(f"unknown platform {unknown[0]!r}; give some of {', '.join(PLATFORMS)}")
    weights, size = _weights(model), model.loaded_encoder.image_size
    predict = jax.jit(_predict(model, weights))

    def exported(names: Sequence[str], platforms: Sequence[str], batch: Any) -> export.Exported:
        shapes = {n: jax.ShapeDtypeStruct(weights[n].shape, weights[n].dtype) for n in names}
        pixels = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
        return export.export(predict, platforms=tuple(platforms))(shapes, pixels)

    names = sorted(weights)
    # For a fixed batch jax tells which arguments are read; weights come first, in order of names.
    kept = exported(names, platforms[:1], 1).module_kept_var_idx
    read = {names[i]: weights[names[i]] for i in kept if i < len(names)}
    program = exported(list(read), platforms, export.symbolic_shape("b")[0])
    return ExportedProgram(bytes(program.serialize()), read, size, tuple(platforms))


def _weights(model: Model) -> dict[str, np.ndarray]:
    encoder = model.loaded_encoder
    weights = {f"encoder.{name}": np.asarray(value) for name, value in encoder.params.items()}
    weights |= {f"bottleneck.{name}": np.asarray(value) for name, value in model.params.items()}
    weights["input_map.bias"] = np.asarray(model.input_map.bias)
    if model.input_map.kernel is not None:
        weights["input_map.kernel"] = np.asarray(model.input_map.kernel)
    return weights


def _predict(model: Model, weights: Mapping[str, np.ndarray]):
    """The function behind `Model.predict`, of weights and pixels alone."""
    bottleneck, tau = model.bottleneck, model.config.tau_end
    temperature = 1.0 if model.calibration is None else model.calibration.temperature
    # The function under the jit: only at the top level does jax tell which weights are read.
    tower = model.loaded_encoder.image_tower.__wrapped__

    def predict(given: Mapping[str, jax.Array], pixels_BxSxSx3: jax.Array) -> dict[str, jax.Array]:
        # What is not given is never read, and the compiler drops it.
        full = {
            name: given[name] if name in given else jnp.zeros(array.shape, array.dtype)
            for name, array in weights.items()
        }
        embeddings_BxE = tower(group(full, "encoder"), pixels_BxSxSx3)
        mapping = InputMap(full.get("input_map.kernel"), full["input_map.bias"])
        inputs_BxI = apply_map(mapping, embeddings_BxE)
        logits_BxK, out = bottleneck.apply(group(full, "bottleneck"), inputs_BxI, tau=tau)
        return {
            "class_logits": logits_BxK,
            "class_probabilities": jax.nn.softmax(logits_BxK / temperature, axis=1),
            "concept_activations": out.concept_activations,
        }

    return predict
