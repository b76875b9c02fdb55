"""Warnings of splits that a fit can start from, and learn or choose little on."""

import functools
import math

import numpy as np
from absl import logging

from jaxcbm.data.labels import some_of
from jaxcbm.distributed.processes import is_main
from jaxcbm.model.familiarity import FEWEST_VALID

# The share of pictures that validation may take from training.
_MOST_VALID = 0.35


def warn_of_splits(train_N: np.ndarray, valid_M: np.ndarray, classes: tuple[str, ...]) -> None:
    """Warn of few validation images, and of classes that a split lacks; each once a process.

    Args:
        train_N: labels, positions in `classes`.
        valid_M: the same of validation.
        classes: names.
    """
    if not is_main():
        return
    shown, chosen = (set(np.unique(labels).tolist()) for labels in (train_N, valid_M))
    if missing := [name for k, name in enumerate(classes) if k not in shown]:
        told = some_of(missing, "class" if len(missing) == 1 else "classes")
        _warn_once(f"no training image of {told}, of which the model then learns nothing")
    if 2 * len(chosen) < len(shown) <= len(valid_M):
        _warn_once(
            f"validation shows {len(chosen)} of {len(classes)} classes, and what is chosen on it "
            "may suit no others: of pictures that are sorted by class take every n-th"
        )
    if len(valid_M) < fewest_valid(len(classes)):
        _warn_once(_of_few(len(train_N), len(valid_M), len(classes)))


def fewest_valid(classes: int) -> int:
    """Validation images below which sparsity, temperature and thresholds are largely chance.

    Five a class, and no fewer than 30. They are numbers for all classes together, so that 60 do
    for however many classes.

    >>> fewest_valid(2), fewest_valid(8), fewest_valid(48)
    (30, 40, 60)
    """
    return max(30, min(5 * classes, 60))


def _of_few(train: int, valid: int, classes: int) -> str:
    needed, every = fewest_valid(classes), train + valid
    share = math.ceil(100 * needed / every) / 100
    trust = f", and {FEWEST_VALID} are needed to tell unfamiliar pictures"
    advice = f"Give {needed} or more: in valid/, or by --config.data.valid_fraction={share:g}"
    if share > _MOST_VALID:
        advice = f"Add pictures: with {every} no split leaves enough for training and validation"
    return (
        f"only {valid} validation images for {classes} classes: sparsity, temperature and "
        f"thresholds that are chosen on them are largely chance"
        f"{trust if valid < FEWEST_VALID else ''}. {advice}"
    )


@functools.cache
def _warn_once(text: str) -> None:
    """Several fits of a process may use the same split."""
    logging.warning("%s", text)
