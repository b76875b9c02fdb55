"""One point of the sparse path: the sparsest head that validates about as well as the best."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcbm.bottleneck.sparse.nec_curve import AccuracyAtNec, accuracy_at, measure_heads
from jaxcbm.bottleneck.sparse.packed import PackedPath, join, pack
from jaxcbm.bottleneck.sparse.path import SparsePath, path_in_pieces
from jaxcbm.bottleneck.sparse.sized_heads import (
    LARGEST_NEC,
    NEC_TARGETS,
    Images,
    SizedHeads,
    solve_sizes,
)
from jaxcbm.bottleneck.unit_scale import unit_scale

# Heads that are solved at once, and their weights, which are dense then: half a GiB.
_HEADS, _WEIGHTS = 25, 2**27
# A path ends early once its heads are larger than any that is asked for, and validation's
# cross-entropy, which has one valley along it, has risen by this share.
_RISEN = 0.02


class SparseChoice(NamedTuple):
    """A path and the head that was chosen on it.

    Attributes:
        head: F on the activations as they are, float32 [K, D]; zeros are exact.
        bias: float32 [K].
        path: in the coordinates of `standardise`, where weights compare across concepts.
        valid_top1: validation accuracy along the path, float64 [P].
        chosen: the position of the head on it.
        mean, scale: float32 [D], of train activations.
        sized: heads of given numbers of effective concepts, in the coordinates of the path; None
            where they were not solved for.
    """

    head: np.ndarray
    bias: np.ndarray
    path: PackedPath
    valid_top1: np.ndarray
    chosen: int
    mean: np.ndarray
    scale: np.ndarray
    sized: SizedHeads | None = None

    def standardise(self, activations_NxD: np.ndarray) -> np.ndarray:
        """Activations of mean 0 and deviation 1 on train."""
        return (activations_NxD - self.mean) * self.scale

    def curve(
        self,
        activations_NxD: np.ndarray,
        labels_N: np.ndarray,
        targets: tuple[int, ...] = NEC_TARGETS,
    ) -> AccuracyAtNec:
        """Accuracy at equal numbers of effective concepts, on any images.

        Args:
            activations_NxD: as they are.
            labels_N: int [N].
            targets: numbers of effective concepts.
        """
        images = jnp.asarray(self.standardise(activations_NxD)), jnp.asarray(labels_N, jnp.int32)
        # Only one head is dense at a time.
        found = [accuracy_at(*self._of_size(target), *images, target) for target in targets]
        accuracies_T = jnp.stack(found)
        return AccuracyAtNec(jnp.asarray(targets, jnp.int32), accuracies_T, jnp.mean(accuracies_T))

    def _of_size(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """The head that was solved for a size, else the first of the path that reaches it, else its
        last one; with its bias."""
        path, position = self.path, len(self.path.nec) - 1
        if self.sized is not None and target in self.sized.sizes:
            path, position = self.sized.heads, int(np.argmax(self.sized.sizes == target))
        elif (path.nec >= target).any():
            position = int(np.argmax(path.nec >= target))
        return path.head(position, len(self.mean)), path.biases[position]


def choose_sparse_head(
    train_NxD: np.ndarray,
    train_labels: np.ndarray,
    valid_MxD: np.ndarray,
    valid_labels: np.ndarray,
    num_classes: int,
    *,
    weights: np.ndarray | None = None,
    path_length: int = 100,
    l1_ratio: float = 0.99,
    tolerance: float = 5e-3,
    max_iterations: int = 2000,
    within: float = 0.02,
    nec: float = 0.0,
) -> SparseChoice:
    """Solve the path on train activations of unit deviation, choose a point on validation.

    Args:
        train_NxD: concept activations, float32.
        train_labels: int [N].
        valid_MxD: of other images.
        valid_labels: int [M].
        num_classes: K.
        weights: of the train images, [N], non-negative; None: all equal.
        path_length, l1_ratio, tolerance, max_iterations: as for `elastic_net_path`.
        within, nec: as for `choose_point`.

    Returns:
        SparseChoice, with a head for each of `jaxcbm.bottleneck.sparse.sized_heads.NEC_TARGETS`.

    Reference: Wong et al. 2021 (arXiv 2105.04857).

    >>> rows, labels = np.array([[1.0], [2.0], [-1.0], [-2.0]], np.float32), np.array([0, 0, 1, 1])
    >>> choice = choose_sparse_head(rows, labels, rows, labels, 2, path_length=4)
    >>> choice.head.shape, float(choice.valid_top1[choice.chosen])
    ((2, 1), 1.0)
    """
    mean_D, scale_D = unit_scale(train_NxD)
    train = Images(
        jnp.asarray((train_NxD - mean_D) * scale_D),
        jnp.asarray(train_labels, jnp.int32),
        None if weights is None else jnp.asarray(weights, jnp.float32),
    )
    pieces = path_in_pieces(
        *(train.rows, train.labels, num_classes),
        path_length=path_length,
        at_once=min(max(_WEIGHTS // (num_classes * len(mean_D)), 1), _HEADS),
        l1_ratio=l1_ratio,
        tolerance=tolerance,
        max_iterations=max_iterations,
        sample_weights=train.weights,
    )
    choice = choose_on_path(
        pieces, mean_D, scale_D, valid_MxD, valid_labels, within=within, nec=nec
    )
    how = {"tolerance": tolerance, "max_iterations": max_iterations}
    return with_sizes(choice, train, valid_MxD, valid_labels, **how)


def choose_on_path(
    pieces: Iterable[SparsePath],
    mean_D: np.ndarray,
    scale_D: np.ndarray,
    valid_MxD: np.ndarray,
    valid_labels: np.ndarray,
    *,
    within: float = 0.02,
    nec: float = 0.0,
) -> SparseChoice:
    """Choose a point of a solved path on validation.

    Args:
        pieces: the path in one or more pieces, solved on `(activations - mean_D) * scale_D`; only
            one of them is held at a time, and those after all that is asked for are not solved.
        mean_D, scale_D: of train activations.
        valid_MxD: activations of other images.
        valid_labels: int [M].
        within, nec: as for `choose_point`.
    """
    rows, labels = jnp.asarray((valid_MxD - mean_D) * scale_D), jnp.asarray(valid_labels, jnp.int32)
    measured, packed, top1_P, loss_P = [], [], np.empty(0), np.empty(0)
    for piece in pieces:
        found = measure_heads(piece.weights, piece.biases, rows, labels)
        measured.append([np.asarray(values, np.float64) for values in found])
        packed.append(pack(piece))
        top1_P, loss_P = np.concatenate(measured, axis=1)
        risen = loss_P[-1] > (1.0 + max(within, _RISEN)) * loss_P.min()
        if risen and packed[-1].nec[-1] >= max(LARGEST_NEC, nec):
            break
    path = join(packed)
    chosen = choose_point(loss_P, path.nec, within=within, nec=nec)
    head_KxD = path.head(chosen, len(mean_D)) * scale_D
    bias_K = path.biases[chosen] - head_KxD @ mean_D
    return SparseChoice(head_KxD, bias_K, path, top1_P, chosen, mean_D, scale_D)


def with_sizes(
    choice: SparseChoice,
    train: Images,
    valid_MxD: np.ndarray,
    valid_labels: np.ndarray,
    **settings: Any,
) -> SparseChoice:
    """The choice with a head for each size.

    Args:
        choice: on a path.
        train: what the path was solved on.
        valid_MxD: activations of other images, as they are.
        valid_labels: int [M].
        settings: as for `solve_sizes`.
    """
    rows, labels = choice.standardise(valid_MxD), jnp.asarray(valid_labels, jnp.int32)
    valid = Images(jnp.asarray(rows), labels)
    return choice._replace(sized=solve_sizes(choice.path, train, valid, **settings))


def choose_point(
    loss_P: np.ndarray, nec_P: np.ndarray, *, within: float = 0.02, nec: float = 0.0
) -> int:
    """The position on a path that validation, or somebody who asks for a size, chooses.

    Cross-entropy decides and not accuracy: on a few hundred images accuracy jumps by more from one
    point to the next than points differ, and the sparsest of near-equals is then a coin toss.

    Args:
        loss_P: cross-entropy on validation along the path, which begins with the emptiest head.
        nec_P: number of effective concepts.
        within: share of the smallest cross-entropy by which that of the chosen head may exceed it.
        nec: the size that is asked for: of the heads nearest to it, the first; 0: see `within`.

    >>> loss, nec = np.array([3.9, 1.01, 1.0, 1.2]), np.array([0.0, 4.8, 9.0, 20.0])
    >>> [choose_point(loss, nec, **how) for how in ({}, {"within": 0.0}, {"nec": 15})]
    [1, 2, 3]
    """
    if nec > 0:
        return int(np.argmin(np.abs(nec_P - nec)))
    # Penalties fall along the path: the first point that is good enough is the sparsest.
    return int(np.argmax(loss_P <= (1.0 + within) * loss_P.min()))
