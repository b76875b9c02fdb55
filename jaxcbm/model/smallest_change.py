"""The fewest concepts that would have to be otherwise for another decision."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcbm.model.calibration import Calibration


class Correction(NamedTuple):
    """One concept that would have to be otherwise.

    Attributes:
        column: position of the concept.
        present: whether it would have to be there, or to be absent.
        value: the activation that stands for it: the mean of train images with or without it.
        gain: what this adds to the other class's logit beside the decided one's.
    """

    column: int
    present: bool
    value: float
    gain: float


class SmallestChange(NamedTuple):
    """The fewest corrections that let another class overtake, those of greatest gain first.

    Attributes:
        class_id: the other class.
        corrections: at least one, unless the other class leads as it is.
    """

    class_id: int
    corrections: tuple[Correction, ...]


def smallest_change(
    class_logits_K: np.ndarray,
    activations_D: np.ndarray,
    head_KxD: np.ndarray,
    calibration: Calibration,
    decided: int,
    others: Sequence[int] | None = None,
) -> SmallestChange | None:
    """The fewest concepts to set to their present or absent value so that another class overtakes.

    Exact: the head is linear, so that what each correction adds to the difference of two logits
    does not depend on the others, and for two classes the greatest gains are the fewest.

    Args:
        class_logits_K: of one image.
        activations_D: its concepts.
        head_KxD: F.
        calibration: what a concept that is present or absent looks like.
        decided: the class to overtake.
        others: the classes that may; by default all but `decided`.

    Returns:
        Of equally small changes that of the class with the highest logit; None where no correction
        helps any of them.

    >>> from jaxcbm.model.calibration import fit_calibration
    >>> rows, labels = np.array([[3.0, -1.0], [-1.0, 3.0]]), np.arange(2)
    >>> record = fit_calibration(rows, labels, rows, rows, labels, np.eye(2), np.eye(2))
    >>> found = smallest_change(rows[0], rows[0], np.eye(2), record, decided=0)
    >>> found.class_id, [(c.column, c.present, c.gain) for c in found.corrections]
    (1, [(0, False, 4.0), (1, True, 4.0)])
    """
    logits_K = np.asarray(class_logits_K, np.float64)
    others = [k for k in range(len(logits_K)) if k != decided] if others is None else others
    values_2xD = np.stack([calibration.absent, calibration.present])
    changes_2xD = values_2xD - activations_D
    best: SmallestChange | None = None
    for other in sorted(others, key=lambda k: -logits_K[k]):
        margin = logits_K[decided] - logits_K[other]
        weights_D = head_KxD[other].astype(np.float64) - head_KxD[decided]
        used = np.flatnonzero(weights_D)
        gains_2xU = weights_D[used] * changes_2xD[:, used]
        which_U, gains_U = gains_2xU.argmax(axis=0), gains_2xU.max(axis=0, initial=-np.inf)
        order = np.argsort(-gains_U, kind="stable")
        # What the first 0, 1, 2, ... of them add up to.
        sums = np.append(0.0, np.cumsum(np.maximum(gains_U[order], 0.0)))
        if sums[-1] <= margin:
            continue
        count = int(np.argmax(sums > margin))
        if best is None or count < len(best.corrections):
            best = SmallestChange(
                other,
                tuple(
                    Correction(
                        int(used[u]),
                        bool(which_U[u]),
                        float(values_2xD[which_U[u], used[u]]),
                        float(gains_U[u]),
                    )
                    for u in order[:count]
                ),
            )
    return best
