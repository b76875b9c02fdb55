"""Who learns from which image: honest splits, the pooled split, and a check on both."""

from collections import Counter

import numpy as np
from absl import logging

from jaxcbm.errors import UserError

_SHOWN = 3


def stratified_split(
    labels_N: np.ndarray, fraction: float, seed: int, *, digests: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a validation part out of train, every class in its share.

    The parts are the same for the same seed on every machine and NumPy version. Every class keeps
    at least one training image. The sizes of the classes are rounded so that the whole comes to
    `round(fraction * N)` wherever the classes allow it.

    Args:
      labels_N: integers [N].
      fraction: the share of validation, 0 to below 1.
      seed: any integer from 0.
      digests: uint8 [N, 32]; with them, an image that occurs more than once stays in train with
        its copies, so that validation holds nothing that was trained on.

    Returns:
      Rising positions of train and of validation, int64.

    Raises:
      UserError: a fraction outside its range.

    >>> train, valid = stratified_split(np.array([0, 0, 0, 0, 1, 1, 1, 1, 2]), 0.25, seed=0)
    >>> len(train), len(valid)
    (7, 2)
    """
    if not 0 <= fraction < 1:
        raise UserError(f"the validation fraction must be in 0 .. 1 and below 1, not {fraction}")
    labels_N = np.asarray(labels_N)
    count = len(labels_N)
    shuffled = _permutation(count, seed)
    if digests is not None:
        shuffled = shuffled[~_repeated(digests)[shuffled]]
    classes, inverse, sizes_K = np.unique(labels_N, return_inverse=True, return_counts=True)
    candidates_K = np.bincount(inverse[shuffled], minlength=len(classes))
    room_K = np.minimum(candidates_K, sizes_K - 1)
    quota_K = _apportion(sizes_K * fraction, room_K, round(fraction * count), seed)

    # The first quota_K[k] images of class k in shuffled order: rank each one within its class.
    by_class = shuffled[np.argsort(inverse[shuffled], kind="stable")]
    starts_K = np.cumsum(candidates_K) - candidates_K
    rank = np.arange(len(by_class)) - starts_K[inverse[by_class]]
    valid = np.sort(by_class[rank < quota_K[inverse[by_class]]])
    train = np.setdiff1d(np.arange(count), valid, assume_unique=True)

    alone = int((sizes_K == 1).sum())
    if fraction > 0 and alone:
        logging.warning(
            "%d of %d classes have a single image: it goes to train, and validation says nothing "
            "about them",
            *(alone, len(classes)),
        )
    return train, valid


def pooled_split(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The split of the paper's code, for study: about 80 % of its "test" images are trained on.

    It pools all data, official test images included, and draws 80/10/10 at random anew for each of
    the three parts, without stratifying: train is taken from the first draw, validation from the
    second, test from the third. (The paper's code draws without a seed.)

    >>> train, valid, test = pooled_split(1000, seed=0)
    >>> len(train), len(valid), len(test), bool(0.7 < np.isin(test, train).mean() < 0.9)
    (800, 100, 100, True)
    """
    first, second = int(0.8 * n), int(0.9 * n)
    draws = [_permutation(n, seed, draw) for draw in range(3)]
    return draws[0][:first], draws[1][first:second], draws[2][second:]


def check_overlap(**digests_of: np.ndarray) -> None:
    """Stop if an image stands in two splits.

    Images are equal when their content is. Repeats within one split are only reported.

    Args:
      **digests_of: for each split uint8 [N, 32], as in `Features.digests`.

    Raises:
      UserError: how many images two splits share, and the first few of them.

    >>> split = np.arange(64, dtype=np.uint8).reshape(2, 32)
    >>> check_overlap(train=split[:1], test=split)
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: 1 of 2 test images is also in train (test[0] = train[0]): ...
    """
    positions = {split: _positions(digests) for split, digests in digests_of.items()}
    for split, first in positions.items():
        repeats = len(digests_of[split]) - len(first)
        if repeats:
            logging.warning("%s holds %d images more than once", split, repeats)
    splits = list(positions)
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            held = positions[one]
            shared = [
                (position, held[key])
                for position, key in enumerate(_keys(digests_of[other]))
                if key in held
            ]
            if shared:
                pairs = ", ".join(f"{other}[{a}] = {one}[{b}]" for a, b in shared[:_SHOWN])
                more = ", ..." if len(shared) > _SHOWN else ""
                raise UserError(
                    f"{len(shared)} of {len(digests_of[other])} {other} images "
                    f"{'is' if len(shared) == 1 else 'are'} also in {one} ({pairs}{more}): "
                    "remove them from one of the two, or the numbers mean nothing"
                )


def _permutation(n: int, *seed: int) -> np.ndarray:
    # Sorting raw bits: PCG64's stream is fixed, NumPy's own shuffles may change with its version.
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(n)
    return np.argsort(bits, kind="stable")


def _apportion(share_K: np.ndarray, room_K: np.ndarray, total: int, seed: int) -> np.ndarray:
    """`share_K` rounded up or down so that it sums to `total`, or near it where room is short."""
    quota_K = np.minimum(np.floor(share_K).astype(np.int64), room_K)
    # Largest remainder first; equal ones in an order that only the seed decides.
    remainder_K = share_K - np.floor(share_K)
    order = np.lexsort((_permutation(len(share_K), seed, 1), -remainder_K))
    open_to_one_more = order[(quota_K < room_K)[order] & (remainder_K > 0)[order]]
    quota_K[open_to_one_more[: max(total - int(quota_K.sum()), 0)]] += 1
    return quota_K


def _repeated(digests: np.ndarray) -> np.ndarray:
    """Which images have an equal one in the same array, bool [N]."""
    keys = _keys(digests)
    count = Counter(keys)
    return np.array([count[key] > 1 for key in keys], bool)


def _keys(digests: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in digests]


def _positions(digests: np.ndarray) -> dict[bytes, int]:
    first: dict[bytes, int] = {}
    for position, key in enumerate(_keys(digests)):
        first.setdefault(key, position)
    return first
