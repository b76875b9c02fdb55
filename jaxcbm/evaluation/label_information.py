"""Which concepts say nothing about the label: a test on annotations, and a way to make some."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class LabelInformation(NamedTuple):
    """What annotations say about the label.

    Attributes:
        mutual_information: between each annotation and the label, nats, float64 [A].
        by_chance: its mean where the same annotations are dealt out at random, float64 [A].
        p_values: share of random deals with as much information, float64 [A]; NaN where nothing
            is annotated.
        label_free: no more information than by chance, bool [A].
    """

    mutual_information: np.ndarray
    by_chance: np.ndarray
    p_values: np.ndarray
    label_free: np.ndarray


def label_information(
    annotations_NxA: np.ndarray,
    labels_N: np.ndarray,
    *,
    deals: int = 1000,
    level: float = 0.05,
    seed: int = 0,
) -> LabelInformation:
    """Which annotated concepts carry no information about the label: a permutation test.

    Dealing the same annotations out to images at random gives class counts of a multivariate
    hypergeometric distribution, which is drawn from without permuting anything.

    Args:
        annotations_NxA: 1 present, 0 absent, NaN unknown.
        labels_N: int [N].
        deals: random deals.
        level: p-value at or below which a concept counts as informative; among label-free
            concepts, this share is wrongly called informative.
        seed: of the deals.

    Returns:
        LabelInformation. With few images, no information is found whether it is there or not.

    >>> labels = np.repeat([0, 1], 50)
    >>> found = label_information(np.stack([labels, np.arange(100) % 2], axis=1), labels)
    >>> found.label_free.tolist()
    [False, True]
    """
    annotations_NxA = np.asarray(annotations_NxA, np.float64)
    _, label_ids = np.unique(labels_N, return_inverse=True)
    rng = np.random.default_rng(seed)
    rows = []
    for column_N in annotations_NxA.T:
        known_N = ~np.isnan(column_N)
        sizes_K = np.bincount(label_ids[known_N])
        present_K = np.bincount(label_ids[known_N], column_N[known_N] > 0.5).astype(np.int64)
        if not known_N.any():
            rows.append((np.nan, np.nan, np.nan))
            continue
        own = _mutual_information(present_K[None, :], sizes_K)[0]
        dealt_PxK = rng.multivariate_hypergeometric(
            sizes_K, present_K.sum(), size=deals, method="marginals"
        )
        chance_P = _mutual_information(dealt_PxK, sizes_K)
        as_much = np.sum(chance_P >= own - 1e-12)
        rows.append((own, chance_P.mean(), (1 + as_much) / (1 + deals)))
    own_A, chance_A, p_A = np.array(rows, np.float64).reshape(-1, 3).T
    return LabelInformation(own_A, chance_A, p_A, np.nan_to_num(p_A, nan=0.0) > level)


def shuffle_annotations(
    annotations_NxA: np.ndarray, columns: Sequence[int] | np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """Deal some concepts' annotations out to images at random: label-free by construction.

    A model that is trained on them has been told nothing about the label by these concepts, so that
    their activations measure leakage on data without phrases of nuisances.

    Args:
        annotations_NxA: annotations of train images.
        columns: the concepts to shuffle, each by another permutation; the others stay.
        seed: of the permutations.

    Returns:
        A copy [N, A]; how many images have each concept stays the same.

    >>> shuffle_annotations(np.array([[1.0, 1.0], [0.0, 0.0]]), [1]).sum(axis=0).tolist()
    [1.0, 1.0]
    """
    rng = np.random.default_rng(seed)
    shuffled_NxA = np.array(annotations_NxA)
    for column in columns:
        shuffled_NxA[:, column] = rng.permutation(shuffled_NxA[:, column])
    return shuffled_NxA


def _mutual_information(present_PxK: np.ndarray, sizes_K: np.ndarray) -> np.ndarray:
    """Between presence and class, from counts of images; nats [P]."""
    total = sizes_K.sum()
    joint_2xPxK = np.stack([present_PxK, sizes_K - present_PxK]) / total
    independent_2xPxK = joint_2xPxK.sum(axis=2, keepdims=True) * (sizes_K / total)
    ratio = np.divide(
        joint_2xPxK, independent_2xPxK, out=np.ones_like(joint_2xPxK), where=joint_2xPxK > 0
    )
    return (joint_2xPxK * np.log(ratio)).sum(axis=(0, 2))
