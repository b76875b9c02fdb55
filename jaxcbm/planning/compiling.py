"""Compiling for chips that are not here, and what the compiler says of their memory."""

import re
import time
from typing import Any, NamedTuple

import jax

from jaxcbm.planning.job import Stage
from jaxcbm.planning.work import Work, count_work

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# "Used 17.2G of 15.75G hbm", or "required for HLO temporaries (17.2G) exceeds available HBM".
_NEEDED = (
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm", re.I),
    re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)", re.I),
)


class Memory(NamedTuple):
    """Bytes on each chip.

    Attributes:
        arguments, outputs, temporaries: of the program.
        aliased: outputs that take the place of arguments.
        code: the program itself.
        held: what lies there beside the program.
    """

    arguments: float
    outputs: float
    temporaries: float
    aliased: float
    code: float
    held: float

    @property
    def total(self) -> float:
        """All of it at once."""
        inside = self.arguments + self.outputs + self.temporaries + self.code - self.aliased
        return inside + self.held


class Compiled(NamedTuple):
    """What came of compiling.

    Attributes:
        needed: bytes on each chip; of a program that was refused, what the compiler says.
        memory: how they divide; None where the program was refused.
        work: None where the program was refused.
        xla_flops: the compiler's own count, loops taken once; 0 where it gives none.
        seconds: that compiling took.
    """

    needed: float
    memory: Memory | None
    work: Work | None
    xla_flops: float
    seconds: float


def compile_stage(stage: Stage, chips: int) -> Compiled:
    """Compile a stage and count it; a program that does not fit is a result, not an error.

    Args:
        stage: what to compile.
        chips: devices of the mesh.
    """
    start = time.monotonic()
    try:
        compiled = stage.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        needed = needed_by(str(error))
        if needed is None:
            raise
        return Compiled(needed + stage.held, None, None, 0.0, time.monotonic() - start)
    seconds = time.monotonic() - start
    memory = _memory(compiled, stage.held)
    work = count_work(compiled.as_text(), chips=chips, steps=stage.steps)
    costs: Any = compiled.cost_analysis() or {}
    return Compiled(memory.total, memory, work, max(costs.get("flops", 0.0), 0.0), seconds)


def needed_by(message: str) -> float | None:
    """Bytes that a compiler asked for in vain; None where the message is about something else.

    >>> needed_by("RESOURCE_EXHAUSTED: ... Used 17.00G of 15.75G hbm. Exceeded ...") / 2**30
    17.0
    """
    for pattern in _NEEDED:
        if found := pattern.search(message):
            return float(found[1]) * _UNITS[found[2].upper()]
    return None


def _memory(compiled: Any, held: float) -> Memory:
    said = compiled.memory_analysis()
    return Memory(
        said.argument_size_in_bytes,
        said.output_size_in_bytes,
        said.temp_size_in_bytes,
        said.alias_size_in_bytes,
        said.generated_code_size_in_bytes,
        held,
    )
