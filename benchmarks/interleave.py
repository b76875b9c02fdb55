"""Ratios of speeds from contenders asked in turn, in one process.

Absolute times on a shared machine wander by half; the ratio of two contenders within one round,
a second apart, does not. So a row is a number of rounds, in each of which every contender works
once, and what counts is the median over rounds of the ratio within the round.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.machine import exact_products

Work = Callable[[], None]
# Seconds a unit costs each contender in one round -> a ratio of speeds.
Formula = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Contender:
    """One way to do a row's work.

    Attributes:
        name: what the tables call it.
        build: sets up and returns a function that does the work once and waits until it is done.
        units: how many units (steps, images) that is.
    """

    name: str
    build: Callable[[], Work]
    units: float


@dataclass(frozen=True)
class Ratio:
    """A ratio of speeds to report.

    Attributes:
        name: what the tables call it.
        formula: from seconds a unit in one round to the ratio, more is faster.
        target: the least it should be; None where nothing was promised.
        derived: how it was computed, where it is more than one speed over another.
    """

    name: str
    formula: Formula
    target: float | None = None
    derived: str = ""


@dataclass(frozen=True)
class Row:
    """One table of the report.

    Attributes:
        name: short, unique; also the name of the result file.
        title: a sentence for the reader.
        unit: what the contenders' work is counted in, plural.
        contenders: in the order of the table.
        ratios: what to make of their times.
        check: proves that the contenders compute the same; returns what it found, for the notes.
        notes: what a reader must know to judge the numbers.
        skipped: why a contender or ratio is missing on this machine.
    """

    name: str
    title: str
    unit: str
    contenders: Sequence[Contender]
    ratios: Sequence[Ratio]
    check: Callable[[], str] | None = None
    notes: Sequence[str] = ()
    skipped: Sequence[str] = field(default_factory=tuple)


def versus(name: str, baseline: str, target: float | None = None) -> Ratio:
    """The speed of one contender over that of another.

    >>> versus("ours", "theirs", 2.0).formula({"ours": 1.0, "theirs": 3.0})
    3.0
    """
    return Ratio(f"{name} / {baseline}", lambda cost: cost[baseline] / cost[name], target)


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    {'median': 3.0, 'q25': 2.0, 'q75': 4.0}
    """
    q25, median, q75 = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return {"median": median, "q25": q25, "q75": q75}


def take_turns(
    works: Mapping[str, Work], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every contender's work in every round.

    Everyone works twice unmeasured, for compilers and caches. The order rotates, so that nobody
    always follows the same neighbour.

    Args:
        works: what each contender does, by name.
        rounds: how often each is measured.
        clock: seconds.
    """
    names = list(works)
    for name in names:
        works[name]()
        works[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            start = clock()
            works[name]()
            seconds[name].append(clock() - start)
    return seconds


def summarise(row: Row, seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """A row's result from the seconds of its contenders, round by round."""
    units = {contender.name: contender.units for contender in row.contenders}
    rounds = len(next(iter(seconds.values())))
    costs = [{name: seconds[name][r] / units[name] for name in units} for r in range(rounds)]
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "rounds": rounds,
        "contenders": [
            {
                "name": name,
                "units_per_round": units[name],
                "units_per_second": quartiles([1 / cost[name] for cost in costs]),
                "seconds": [round(value, 6) for value in seconds[name]],
            }
            for name in units
        ],
        "ratios": [_judge(ratio, costs) for ratio in row.ratios],
        "notes": list(row.notes),
        "skipped": list(row.skipped),
    }


def _judge(ratio: Ratio, costs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    found = quartiles([ratio.formula(cost) for cost in costs])
    met = None if ratio.target is None else found["median"] >= ratio.target
    return {
        "name": ratio.name,
        **found,
        "target": ratio.target,
        "met": met,
        "derived": ratio.derived,
    }


def measure(row: Row, rounds: int) -> dict[str, Any]:
    """Check a row's contenders against each other, then let them take turns."""
    with exact_products():
        found = row.check() if row.check else None
    result = summarise(row, take_turns({c.name: c.build() for c in row.contenders}, rounds))
    if found:
        result["notes"] = [found, *result["notes"]]
    return result
