"""The grid that every sweep contender runs: 4 objectives x 8 learning rates x 3 seeds.

Synthetic scores: the time of a step does not depend on their values.
"""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

OBJECTIVES = ("gumbel", "contrastive", "l1", "similarity")
PENALTY, HEAD_RATE = 1e-3, 1e-2


class Run(NamedTuple):
    """One setting of the grid."""

    objective: str
    cbl_rate: float
    seed: int
    head_rate: float = HEAD_RATE


@dataclass(frozen=True)
class SweepProblem:
    """Sizes: images N and M of validation, concepts D, classes K, batch B, epochs, and the grid."""

    images: int
    valid_images: int
    concepts: int
    classes: int
    batch: int
    epochs: int
    rates: int = 8
    seeds: int = 3

    @property
    def cbl_rates(self) -> tuple[float, ...]:
        """Learning rates from 1e-4 to 1e-2, evenly on a logarithmic scale."""
        return tuple(float(rate) for rate in np.geomspace(1e-4, 1e-2, self.rates))

    def runs(self) -> list[Run]:
        """All combinations."""
        return [Run(*own) for own in product(OBJECTIVES, self.cbl_rates, range(self.seeds))]


class Arrays(NamedTuple):
    """Scores of unit deviation, labels, and initial weights as [inputs, outputs]."""

    scores_NxD: np.ndarray
    labels_N: np.ndarray
    valid_scores_MxD: np.ndarray
    valid_labels_M: np.ndarray
    cbl_DxD: np.ndarray
    head_DxK: np.ndarray


def make_arrays(problem: SweepProblem) -> Arrays:
    """Labels follow a linear rule on the scores, so that there is something to learn."""
    rng = np.random.default_rng(0)
    depth, classes = problem.concepts, problem.classes
    scores = rng.standard_normal((problem.images + problem.valid_images, depth), np.float32)
    rule_DxK = rng.standard_normal((depth, classes), np.float32)
    labels = np.argmax(scores @ rule_DxK, axis=1).astype(np.int32)
    cut = problem.images
    bound = depth**-0.5
    cbl, head = (
        rng.uniform(-bound, bound, (depth, width)).astype(np.float32) for width in (depth, classes)
    )
    return Arrays(scores[:cut], labels[:cut], scores[cut:], labels[cut:], cbl, head)
