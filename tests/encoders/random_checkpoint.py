"""Random weights for any family, under the names its checkpoints have.

Names and shapes come from the weight table; that torch's model takes them without one missing or
left over is checked where the goldens are made.
"""

from typing import Any

import numpy as np
from flax import nnx

from jaxcbm.encoders.checkpoint.convert import to_theirs
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.flat_params import abstract


def random_tensors(kind: str, config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """float32 weights large enough that every part of the model shows in the embeddings."""
    family = FAMILIES[kind]
    sizes = family.config(config)
    _, shapes = abstract(lambda: family.model(sizes, rngs=nnx.Rngs(0)))
    empty = {name: np.zeros(shape.shape, np.float32) for name, shape in shapes.items()}
    random = np.random.RandomState(seed)  # its stream is frozen
    tensors = {}
    for name, array in sorted(to_theirs(empty, family.rows)):
        spread = 0.5 if array.ndim < 2 else 1.5 / np.sqrt(np.prod(array.shape[1:]))
        scale_of_norm = array.ndim == 1 and name.endswith("weight")
        values = random.standard_normal(array.shape)
        tensors[name] = np.asarray(scale_of_norm + spread * values, np.float32)
    return tensors
