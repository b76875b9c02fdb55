"""The load before a block and its largest meanwhile, and what benchmarks make of it."""

import itertools
import math
import time

import pytest

from benchmarks import machine
from jaxcbm import machine_load
from jaxcbm.machine_load import watch_load


def averages(monkeypatch, *values):
    """The system's load averages, one a look, the last for ever."""
    looks = itertools.chain(values, itertools.repeat(values[-1]))
    monkeypatch.setattr(machine_load.os, "getloadavg", lambda: (next(looks), 0.0, 0.0))
    monkeypatch.setattr(machine_load.os, "cpu_count", lambda: 2)


def test_the_largest_is_of_the_whole_block(monkeypatch):
    averages(monkeypatch, 0.5, 3.0, 1.0)
    monkeypatch.setattr(machine_load, "_SECONDS", 0.01)
    with watch_load() as load:
        time.sleep(0.1)
    assert (load.before, load.largest, load.cores) == (0.5, 3.0, 2)


def test_the_end_of_a_short_block_is_looked_at(monkeypatch):
    averages(monkeypatch, 0.5, 3.0)
    with watch_load() as load:
        pass
    assert load.largest == 3.0


def test_a_system_without_load_averages_says_nan(monkeypatch):
    monkeypatch.delattr(machine_load.os, "getloadavg")
    with watch_load() as load:
        pass
    assert math.isnan(load.before) and math.isnan(load.largest)


def test_a_busy_machine_is_refused_in_one_line(monkeypatch):
    averages(monkeypatch, 0.61)
    with pytest.raises(SystemExit) as refused, machine.idle_machine("a row", patience=0.0):
        pytest.fail("measured")
    told = str(refused.value)
    assert told.startswith("a row: not measured: the load average is 0.6") and "\n" not in told


def test_an_idle_machine_is_measured_and_a_forced_row_is_marked(monkeypatch):
    averages(monkeypatch, 0.6)
    with machine.idle_machine("a row", patience=0.0) as load:
        pass
    assert not machine.was_busy(vars(load))
    averages(monkeypatch, 0.61)
    with machine.idle_machine("a row", force=True) as load:
        pass
    assert machine.was_busy(vars(load))


def test_the_load_that_the_row_before_left_is_waited_for(monkeypatch):
    averages(monkeypatch, 2.0, 1.0, 0.4)
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)
    with machine.idle_machine("a row", patience=60.0) as load:
        pass
    assert load.before == 0.4
