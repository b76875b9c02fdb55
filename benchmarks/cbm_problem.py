"""The problem that every training contender solves, and jaxcbm's settings for it.

Synthetic features: the time of a step does not depend on their values.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CBL_RATE, HEAD_RATE = 1e-3, 1e-2


@dataclass(frozen=True)
class Problem:
    """Sizes: images N, embedding width E, concepts D, classes K, batch B, and steps a round."""

    images: int
    embed_dim: int
    concepts: int
    classes: int
    batch: int
    steps: int


class Arrays(NamedTuple):
    """Features and initial weights; matrices as [inputs, outputs]."""

    embeddings_NxE: np.ndarray
    concepts_ExD: np.ndarray
    labels_N: np.ndarray
    cbl_DxD: np.ndarray
    head_DxK: np.ndarray


def make_arrays(problem: Problem) -> Arrays:
    """Unit-norm embeddings, a map from them to scores of unit deviation, and random weights."""
    rng = np.random.default_rng(0)
    n, e, d, k = problem.images, problem.embed_dim, problem.concepts, problem.classes
    embeddings = rng.standard_normal((n, e), np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Arrays(
        embeddings,
        rng.standard_normal((e, d), np.float32),
        rng.integers(0, k, n, np.int32),
        _uniform(rng, d, d),
        _uniform(rng, d, k),
    )


def scores(arrays: Arrays) -> np.ndarray:
    """psi, float32 [N, D]: what a loop on cached features reads."""
    return arrays.embeddings_NxE @ arrays.concepts_ExD


def _uniform(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    bound = np.float32(inputs**-0.5)
    return (2 * rng.random((inputs, outputs), np.float32) - 1) * bound
