"""Arithmetic of time and cost, and what compilers say of memory."""

import pytest

from jaxcbm.errors import UserError
from jaxcbm.planning.chips import SHAPES, TPUS, parse_slice
from jaxcbm.planning.collectives import Collective
from jaxcbm.planning.compiling import Memory, needed_by
from jaxcbm.planning.roofline import dollars_per_million, roofline
from jaxcbm.planning.work import Work


def test_a_step_is_bound_by_what_takes_longest():
    chip = TPUS["v5e"]
    collectives = (Collective("all-reduce", 4, 1, chip.links),)
    work = Work(chip.flops, 6 * chip.flops, 2 * chip.bandwidth, collectives, 0)
    estimate = roofline(work, chip)
    assert estimate is not None
    assert estimate == (6.0, 2.0, 1.5)
    assert (estimate.overlapped, estimate.serial, estimate.bound) == (6.0, 9.5, "compute")


def test_an_unknown_chip_has_no_speed():
    assert roofline(Work(1, 1, 1, (), 0), parse_slice("cpu-8").chip) is None


def test_cost_is_chips_times_hours():
    # 1,000 images a second on 10 chips of $3.60: a million images take 1,000 s = 10 x $1.
    assert dollars_per_million(0.5, 500, 10, 3.6) == pytest.approx(10.0)


def test_memory_counts_what_is_aliased_once():
    assert Memory(10.0, 8.0, 5.0, 7.0, 1.0, 3.0).total == 20.0


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
            "temporaries (223.61G) exceeds available HBM (15.75G).",
            223.61 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory "
            "space hbm. Used 17.25G of 15.75G hbm. Exceeded hbm capacity by 1.50G.",
            17.25 * 2**30,
        ),
        ("INVALID_ARGUMENT: something else", None),
    ],
)
def test_what_the_compiler_asked_for(message, needed):
    assert needed_by(message) == (None if needed is None else pytest.approx(needed))


def test_names_count_chips_or_cores_as_the_vendor_does():
    assert parse_slice("v5e-256").shape == (16, 16)
    v5p = parse_slice("v5p-64")
    assert (v5p.count, v5p.layout) == (32, "v5p:2x4x4")
    assert parse_slice("v4-8").count == 4
    for kind, shapes in SHAPES.items():
        for count, shape in shapes.items():
            product = 1
            for size in shape:
                product *= size
            assert product == count, (kind, shape)


@pytest.mark.parametrize("name", ["v5e-17", "v5p-7", "v9-8", "v5e", "cpu-0", "tpu-8", ""])
def test_unknown_slices_are_refused_in_one_line(name):
    with pytest.raises(UserError) as caught:
        parse_slice(name)
    assert "\n" not in str(caught.value)
