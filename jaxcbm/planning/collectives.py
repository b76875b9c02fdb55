"""What chips send one another, from the text of a compiled program."""

import math
import re
from typing import NamedTuple

from jaxcbm.planning.hlo import Instruction

_COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


class Collective(NamedTuple):
    """Collectives of one kind among groups of one size, a step.

    Attributes:
        kind: such as `all-reduce`.
        chips: in a group.
        count: how many.
        bytes: their payload on one chip: what it holds before an all-reduce, a reduce-scatter or
            an exchange, and after an all-gather.
    """

    kind: str
    chips: int
    count: float
    bytes: float

    @property
    def sent(self) -> float:
        """Bytes that a chip sends when the group is a ring."""
        share = (self.chips - 1) / self.chips
        if self.kind in ("collective-permute", "collective-broadcast"):
            return self.bytes if self.chips > 1 else 0.0
        return self.bytes * share * (2 if self.kind == "all-reduce" else 1)


def collective_kind(line: Instruction, computation: str) -> str | None:
    """The kind of a collective, one that is split into start and end counted at its start."""
    kind = line.opcode.removesuffix("-start")
    if kind not in _COLLECTIVES:
        return None
    # The TPU compiler's fused form keeps the name of the first half.
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
        return "reduce-scatter"
    return kind


def group_size(rest: str, chips: int) -> int:
    """Chips in each group of a collective.

    >>> group_size("replica_groups={{0,1},{2,3}}", 4), group_size("replica_groups=[2,8]<=[16]", 16)
    (2, 8)
    >>> group_size("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_1'}, dimensions={0}", 8)
    2
    """
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(found[1])
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", rest):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        axes = re.findall(r"'(\w+)'", found[2])
        return math.prod(int(sizes[axis]) for axis in axes) if axes else chips
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return len(found[1].split(","))
    if found := re.search(r"source_target_pairs=\{\{", rest):
        return 2
    return chips


def payload(kind: str, line: Instruction) -> float:
    """Bytes of a collective on one chip, see `Collective`."""
    starts = line.opcode.endswith("-start") and kind != "all-reduce"
    results = float(sum(array.bytes for array in (line.results[-1:] if starts else line.results)))
    if kind == "all-gather":
        return results
    operands = float(sum(array.bytes for arrays in line.inputs for array in arrays))
    # A TPU narrows what it adds up on the way where the result is narrower.
    return min(operands, results) if kind == "all-reduce" else operands
