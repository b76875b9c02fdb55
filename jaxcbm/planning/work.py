"""What one chip does in one step: operations of matrix units, bytes of memory and of links."""

from typing import NamedTuple

from jaxcbm.planning.collectives import Collective, collective_kind, group_size, payload
from jaxcbm.planning.hlo import called_by, loop_trips, parse, runs
from jaxcbm.planning.products import product_flops, product_passes
from jaxcbm.planning.traffic import moved_bytes


class Work(NamedTuple):
    """Work of one chip in one step.

    Attributes:
        flops: of matrix products and convolutions, two a multiplication.
        passes: the same in bfloat16 operations of the matrix units: a float32 product of full
            precision takes six.
        bytes: between memory and chip, counted by operands and results of instructions.
        collectives: by kind and group.
        unknown_loops: loops that were counted once because their length is not known.
    """

    flops: float
    passes: float
    bytes: float
    collectives: tuple[Collective, ...]
    unknown_loops: int

    @property
    def sent(self) -> float:
        """Bytes that a chip sends over its links."""
        return sum(collective.sent for collective in self.collectives)


def count_work(text: str, *, chips: int, steps: int = 1) -> Work:
    """Count a compiled program.

    Args:
        text: `compiled.as_text()`.
        chips: that it runs on.
        steps: that it makes, in a loop; the work before and after the loop is shared among them.

    Returns:
        Work of one chip in one step.
    """
    program = parse(text)
    if steps > 1 and steps not in loop_trips(program):
        raise ValueError(f"the program has no loop of {steps} steps: {loop_trips(program)}")
    times, unknown = runs(program)
    fused = {
        name
        for lines in program.computations.values()
        for line in lines.values()
        if line.opcode == "fusion"
        for name in called_by(line)
    }
    flops = passes = moved = 0.0
    found: dict[tuple[str, int], list[float]] = {}
    for name, lines in program.computations.items():
        runs_of = times.get(name, 0.0) / steps
        if not runs_of:
            continue
        for line in lines.values():
            product = product_flops(line)
            flops += runs_of * product
            passes += runs_of * product * product_passes(line)
            if name not in fused:
                moved += runs_of * moved_bytes(line, program)
            if kind := collective_kind(line, name):
                entry = found.setdefault((kind, group_size(line.rest, chips)), [0.0, 0.0])
                entry[0] += runs_of
                entry[1] += runs_of * payload(kind, line)
    collectives = tuple(Collective(*key, *value) for key, value in sorted(found.items()))
    return Work(flops, passes, moved, collectives, unknown)
