"""Operations of matrix products and convolutions, from the text of a compiled program.

A TPU's compiler turns every matrix product into a convolution, a batch of them into one with
dilation, so what counts is where kernel and numbers meet.
"""

import re

import numpy as np

from jaxcbm.planning.hlo import Instruction

# A float32 product of full precision is six products of bfloat16 in the matrix units.
_PASSES = {"highest": 6, "high": 3}


def product_flops(line: Instruction) -> float:
    """Operations of a matrix product or a convolution, 0 for anything else."""
    if line.opcode == "dot":
        inner = _numbers(line.rest, "lhs_contracting_dims")
        sizes = [line.inputs[0][0].shape[i] for i in inner]
        return 2.0 * line.results[0].size * float(np.prod(sizes))
    if line.opcode == "convolution":
        return _convolution_flops(line)
    if line.opcode == "custom-call" and re.search(r'call_target="[^"]*(gemm|matmul)', line.rest):
        # Products that a library makes: a GPU's say what they contract; a CPU's are plain.
        named = re.search(r'lhs_contracting_dimensions":\["?(\d+)', line.rest)
        inner = line.inputs[0][0].shape[int(named[1]) if named else -1]
        return 2.0 * line.results[0].size * inner
    return 0.0


def product_passes(line: Instruction) -> int:
    """bfloat16 products that the matrix units make of one product."""
    named = re.search(r"operand_precision=\{(\w+)", line.rest)
    dtypes = {array.dtype for arrays in line.inputs[:2] for array in arrays}
    return _PASSES.get(named[1], 1) if named and dtypes == {"f32"} else 1


def _convolution_flops(line: Instruction) -> float:
    """As XLA counts: only the places where a kernel meets a number that is there."""
    ((left, *_), (right, *_), *_), result = line.inputs, line.results[0]
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", line.rest)
    assert labels is not None
    meetings = 1.0
    for axis in (c for c in labels[2] if c.isdigit()):
        place = int(axis)
        size = (labels[1].index(axis), labels[2].index(axis), labels[3].index(axis))
        meetings *= _meetings(
            left.shape[size[0]],
            right.shape[size[1]],
            result.shape[size[2]],
            stride=_window(line.rest, "stride", place),
            dilate=_window(line.rest, "lhs_dilate", place),
            spread=_window(line.rest, "rhs_dilate", place),
            pad=_pad(line.rest, place),
        )
    batch, out = result.shape[labels[3].index("b")], result.shape[labels[3].index("f")]
    # Of grouped features and batches, kernel and result say what meets already.
    return 2.0 * batch * out * right.shape[labels[2].index("i")] * meetings


def _meetings(
    size: int, kernel: int, result: int, *, stride: int, dilate: int, spread: int, pad: int
) -> float:
    where = np.arange(result)[:, None] * stride - pad + np.arange(kernel)[None, :] * spread
    valid = (where >= 0) & (where <= (size - 1) * dilate) & (where % dilate == 0)
    return float(valid.sum())


def _window(rest: str, name: str, place: int) -> int:
    found = re.search(rf"window=\{{[^}}]*\b{name}=([\dx]+)", rest)
    return int(found[1].split("x")[place]) if found else 1


def _pad(rest: str, place: int) -> int:
    found = re.search(r"window=\{[^}]*\bpad=([\d_x\-]+)", rest)
    return int(found[1].split("x")[place].split("_")[0]) if found else 0


def _numbers(rest: str, name: str) -> list[int]:
    found = re.search(rf"{name}=\{{([\d,]*)\}}", rest)
    return [int(n) for n in found[1].split(",") if n] if found else []
