"""Bytes between a chip and its memory, from the text of a compiled program.

Every instruction reads its operands and writes its results, what the compiler keeps on the chip
left out. Of an array that is only sliced, the slices count.
"""

from collections.abc import Iterable

from jaxcbm.planning.hlo import HloArray, HloProgram, Instruction, called_by

# What moves nothing, or whose work stands in the computations that it calls.
_FREE = frozenset(
    name
    for names in (
        "parameter constant tuple get-tuple-element bitcast iota partition-id replica-id domain",
        "while conditional call after-all opt-barrier async-start async-update async-done",
    )
    for name in names.split()
)
_SLICES = frozenset(("gather", "dynamic-slice", "slice"))
_UPDATE = "dynamic-update-slice"


def moved_bytes(line: Instruction, program: HloProgram) -> float:
    """Bytes that an instruction reads from and writes to memory, what lies on the chip left out."""
    if line.opcode in _FREE or line.opcode.endswith("-done"):
        return 0.0
    if line.opcode in _SLICES:
        return 2.0 * _in_memory(line.results)
    inner = next(iter(called_by(line)), None) if line.opcode == "fusion" else None
    body = program.computations.get(inner or "", {})
    written = _in_memory(line.results)
    if line.opcode == _UPDATE:
        return 2.0 * _in_memory(line.inputs[1])
    if line.opcode in ("copy-start", "slice-start"):
        # The result names source and target: each end in memory is passed once.
        size = line.results[1].bytes
        return float(size * (line.results[0].in_hbm + line.results[1].in_hbm))
    updated = _updated(body)
    if updated is not None:
        written = min(written, updated)
    read = (
        min(_in_memory(arrays), _touched(body, place, arrays))
        for place, arrays in enumerate(line.inputs)
    )
    return sum(read) + written


def _touched(body: dict[str, Instruction], place: int, arrays: tuple[HloArray, ...]) -> float:
    """Bytes of a fusion's operand that it reads: of what is only sliced, the slices."""
    whole = float(sum(array.bytes for array in arrays))
    parameters = (line for line in body.values() if line.opcode == "parameter")
    parameter = next((p.name for p in parameters if p.rest.startswith(f"({place})")), None)
    if parameter is None:
        return whole
    readers = [line for line in body.values() if parameter in line.operands]
    if not readers:
        return 0.0
    if all(line.operands[0] == parameter and line.opcode in _SLICES for line in readers):
        return float(sum(line.results[0].bytes for line in readers))
    if all(line.operands[0] == parameter and line.opcode == _UPDATE for line in readers):
        return 0.0
    return whole


def _updated(body: dict[str, Instruction]) -> float | None:
    """Bytes that a fusion writes where it writes into an array that is there already."""
    root = next((line for line in body.values() if line.is_root), None)
    if root is None or root.opcode != _UPDATE:
        return None
    return _in_memory(root.inputs[1]) or None


def _in_memory(arrays: Iterable[HloArray]) -> float:
    return float(sum(array.bytes for array in arrays if array.in_hbm))
