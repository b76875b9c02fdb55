"""The largest batch that fits, by compiling as few sizes as possible."""

from collections.abc import Callable
from typing import NamedTuple


class Largest(NamedTuple):
    """What was found.

    Attributes:
        batch: the largest size that was compiled and fits; 0 for none.
        next: the smallest size that was compiled and does not fit; 0 for none.
        at_limit: whether `batch` is the largest size of the search.
        tried: bytes on each chip by size, in the order of compilation.
    """

    batch: int
    next: int
    at_limit: bool
    tried: dict[int, float]


def largest_batch(
    measure: Callable[[int], float],
    *,
    unit: int,
    limit: int,
    usable: float,
    known: dict[int, float],
    tries: int,
) -> Largest:
    """Search the sizes unit, 2 unit, 4 unit, ... up to `limit`.

    Memory grows with the batch, near enough along a straight line: each size is guessed from the
    line through the two measured ones that are closest, and then halved between the largest that
    fits and the smallest that does not.

    Args:
        measure: size -> bytes on each chip; compiles.
        unit: smallest size.
        limit: largest size.
        usable: bytes that a chip has.
        known: what is measured already, at least one size.
        tries: sizes to measure at most.

    >>> largest_batch(lambda batch: 10.0 * batch, unit=1, limit=1024, usable=100.0,
    ...               known={4: 40.0}, tries=4).batch
    8
    """
    sizes = [unit << n for n in range(64) if unit << n <= limit]
    seen = dict(known)
    tried: dict[int, float] = {}
    while sizes:
        fits = [size for size in sizes if any(s >= size and seen[s] <= usable for s in seen)]
        fails = [size for size in sizes if any(s <= size and seen[s] > usable for s in seen)]
        low, high = len(fits), len(sizes) - len(fails)
        if low >= high or len(tried) >= tries:
            break
        size = sizes[min(max(_guess(sizes, seen, usable), low), high - 1)]
        tried[size] = seen[size] = measure(size)
    measured = sorted(seen)
    best = max((size for size in measured if seen[size] <= usable), default=0)
    above = min((size for size in measured if seen[size] > usable), default=0)
    return Largest(best, above, bool(sizes) and best >= sizes[-1], tried)


def _guess(sizes: list[int], seen: dict[int, float], usable: float) -> int:
    """Place of the size that a straight line says is the largest to fit."""
    near = sorted(seen, key=lambda size: abs(seen[size] - usable))[:2]
    if len(near) == 1:
        slope, start = seen[near[0]] / near[0], 0.0
    else:
        slope = (seen[near[1]] - seen[near[0]]) / (near[1] - near[0])
        start = seen[near[0]] - slope * near[0]
    if slope <= 0:
        return len(sizes) - 1
    return sum(1 for size in sizes if start + slope * size <= usable) - 1
