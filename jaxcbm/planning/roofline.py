"""The least time that a step can take, and what that costs."""

from typing import NamedTuple

from jaxcbm.planning.chips import Chip
from jaxcbm.planning.work import Work


class Roofline(NamedTuple):
    """Seconds of one step by what limits it, were it the only limit.

    Attributes:
        compute: matrix units at their peak.
        memory: memory at its full bandwidth.
        links: all links of a chip at their full bandwidth, groups as rings.
    """

    compute: float
    memory: float
    links: float

    @property
    def overlapped(self) -> float:
        """The longest of the three: no step is faster."""
        return max(self)

    @property
    def serial(self) -> float:
        """Their sum: a step in which nothing overlaps."""
        return sum(self)

    @property
    def bound(self) -> str:
        """What limits a step in which everything overlaps."""
        return max(self._fields, key=lambda name: getattr(self, name))


def roofline(work: Work, chip: Chip) -> Roofline | None:
    """Seconds of one step; None for a chip of unknown speed.

    >>> from jaxcbm.planning.chips import TPUS
    >>> work = Work(flops=197e12, passes=197e12, bytes=819e9, collectives=(), unknown_loops=0)
    >>> roofline(work, TPUS["v5e"])
    Roofline(compute=1.0, memory=1.0, links=0.0)
    """
    if not chip.flops:
        return None
    return Roofline(work.passes / chip.flops, work.bytes / chip.bandwidth, work.sent / chip.links)


def dollars_per_million(seconds: float, batch: int, chips: int, price: float) -> float:
    """What a million images cost, by the seconds of a step and the price of an hour and chip.

    >>> dollars_per_million(1.0, 1000, 16, 0.9)
    4.0
    """
    return 1e6 / batch * seconds / 3600 * chips * price
