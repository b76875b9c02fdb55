"""The text of a compiled program as instructions, and how often each of them runs.

XLA's own counts take the body of a loop once. Here a loop counts as often as it runs, which its
condition says: from zero while below a constant.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*(?:e\dm\d\w*)?)\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'known_trip_count[^\d]*?"?n"?[^\d]*(\d+)')
_COMMENT = re.compile(r"/\*.*?\*/")

_BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128}


class HloArray(NamedTuple):
    """Type, shape and place of one array.

    Attributes:
        dtype: XLA's name, such as `bf16`.
        shape: sizes.
        in_hbm: False where the compiler keeps it in the chip's own fast memory.
    """

    dtype: str
    shape: tuple[int, ...]
    in_hbm: bool

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes, without the padding of tiles."""
        found = re.search(r"\d+", self.dtype)
        bits = _BITS[self.dtype] if self.dtype in _BITS else int(found[0]) if found else 8
        return self.size * bits // 8


class Instruction(NamedTuple):
    """One line of a computation.

    Attributes:
        name, opcode: as the compiler writes them.
        results: arrays; several for a tuple.
        operands: names of other instructions of the same computation.
        inputs: arrays of each operand.
        rest: what follows the operands: dimensions, windows, groups; before that, in brackets, the
            value of a constant and the number of a parameter.
        is_root: whether it is what the computation returns.
    """

    name: str
    opcode: str
    results: tuple[HloArray, ...]
    operands: tuple[str, ...]
    inputs: tuple[tuple[HloArray, ...], ...]
    rest: str
    is_root: bool


class HloProgram(NamedTuple):
    """A compiled program.

    Attributes:
        computations: instructions by name, by computation.
        entry: the computation that the others are called from.
    """

    computations: dict[str, dict[str, Instruction]]
    entry: str


def parse(text: str) -> HloProgram:
    """Read what `compiled.as_text()` gives.

    >>> program = parse('''
    ... ENTRY %main (x: f32[2,3]) -> f32[2,3] {
    ...   %x = f32[2,3]{1,0} parameter(0)
    ...   ROOT %y = f32[2,3]{1,0} negate(%x)
    ... }''')
    >>> program.computations["main"]["y"].operands
    ('x',)
    """
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for printed in text.splitlines():
        if head := _HEAD.match(printed):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif current is not None and (found := _LINE.match(printed)):
            text = _COMMENT.sub("", found[3])
            current[found[2]] = _instruction(found[2], text, bool(found[1]), current)
    return HloProgram(computations, entry)


def runs(program: HloProgram) -> tuple[dict[str, float], int]:
    """How often each computation runs, and the number of loops whose length is not known.

    What is fused into an instruction counts with it. Of a condition's branches each is counted, as
    if all were taken. A loop of unknown length counts once.
    """
    counts: dict[str, float] = defaultdict(float)
    unknown = 0

    def visit(name: str, times: float) -> None:
        nonlocal unknown
        counts[name] += times
        for instruction in program.computations[name].values():
            inner = times
            if instruction.opcode == "while":
                trips = _trips(program, instruction)
                unknown += trips is None
                inner = times * (1 if trips is None else trips)
            for called in called_by(instruction):
                if called in program.computations:
                    visit(called, inner)

    visit(program.entry, 1.0)
    return counts, unknown


def called_by(instruction: Instruction) -> Iterator[str]:
    """Computations whose work is part of an instruction; the sum in a reduction is not."""
    for kind, name in _CALLED.findall(instruction.rest):
        if kind != "to_apply" or instruction.opcode == "call":
            yield name
    for group in _BRANCHES.findall(instruction.rest):
        yield from _NAME.findall(group)


def loop_trips(program: HloProgram) -> list[int]:
    """Lengths of the loops of the entry computation, as far as they are known."""
    loops = (i for i in program.computations[program.entry].values() if i.opcode == "while")
    return [trips for loop in loops if (trips := _trips(program, loop)) is not None]


def _trips(program: HloProgram, loop: Instruction) -> int | None:
    if known := _TRIPS.search(loop.rest):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", loop.rest)
    lines = program.computations.get(condition[1], {}) if condition else {}
    constants = [
        int(value[1])
        for line in lines.values()
        if line.opcode == "constant" and (value := re.match(r"\((\d+)\)", line.rest))
    ]
    return constants[0] if len(constants) == 1 else None


def _instruction(
    name: str, text: str, is_root: bool, before: dict[str, Instruction]
) -> Instruction:
    # A layout such as {1,0:T(8,128)S(1)} has brackets but no blanks.
    kind, text = _until_closed(text) if text.startswith("(") else text.partition(" ")[::2]
    opcode, _, after = text.lstrip().partition("(")
    inside, rest = _until_closed(f"({after}")
    results = tuple(
        HloArray(
            found[1],
            tuple(int(n) for n in found[2].split(",") if n),
            "S(" not in (found[3] or ""),
        )
        for found in _ARRAY.finditer(kind)
    )
    # A constant has its value, and a parameter its number, between the brackets.
    if opcode in ("constant", "parameter"):
        return Instruction(name, opcode, results, (), (), inside + rest, is_root)
    operands = tuple(_NAME.findall(inside))
    inputs = tuple(before[other].results if other in before else () for other in operands)
    return Instruction(name, opcode, results, operands, inputs, rest, is_root)


def _until_closed(text: str) -> tuple[str, str]:
    """Cut behind the bracket that closes the first one."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[: place + 1], text[place + 1 :]
    return text, ""
