"""Memory that the system does not give: one line, and what was there stays whole."""

import functools
import re
import resource

import jax.numpy as jnp
import numpy as np
import pytest
from damage import tries
from forked import Blow, leave_memory, run
from works import WORKS, Undisturbed, left_by

from jaxcbm import cli
from jaxcbm.commands import cache

COMPUTING = {name: WORKS[name].argv for name in ("train", "predict", "explain")}
COMPUTING["explore"] = ("explore", "--workdir=run", "--output=explorer.html")


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
@pytest.mark.parametrize("name", COMPUTING)
def test_too_little_to_start(name, limit, tmp_path):
    """Before native code finds out, which ends the process with a page of addresses."""
    bound = functools.partial(leave_memory, 100, limit)
    ended = run(COMPUTING[name], tmp_path, Blow(0, 0, does=bound))
    line = ended.said.strip()
    assert ended.code == 2 and line.startswith("jaxcbm: error: not enough memory: ulimit"), ended
    assert line.endswith("raise the limit") and "\n" not in line
    assert not list(tmp_path.iterdir())


def _run_out() -> None:
    raise MemoryError


# Of threads of TensorStore's whose write fails: no hook of Python's sees these.
_CLOSED = re.compile(r"Traceback.*\n( .*\n)+RuntimeError: Event loop is closed")


def test_memory_that_runs_out_on_the_way(undisturbed: Undisturbed, tmp_path):
    """At whatever file is opened then; JAXCBM_FAULTS says how often, over all commands."""
    names = tuple(WORKS) if tries(0) else ("encode",)
    bad = []
    for number in range(tries(1)):
        rng, name = np.random.default_rng(number), names[number % len(names)]
        before, usual = undisturbed.whole(name)
        folder = undisturbed.begin(name, tmp_path / str(number))
        blow = Blow(0, int(rng.integers(1, usual.touches + 1)), does=_run_out)
        ended = undisturbed.start(name, folder, blow)
        said = _CLOSED.sub("", ended.said)
        lines = [line for line in said.splitlines() if line.startswith("jaxcbm: error:")]
        told = ended.code == 2 and len(lines) == 1 and "not enough memory" in lines[0]
        again = undisturbed.start(name, folder) if ended.code else ended
        whole = again.code == 0 and left_by(folder) == left_by(before)
        if not (told or ended.code == 0) or "Traceback" in said or not whole:
            bad.append((name, str(blow), ended, again))
    assert not bad, bad


def _too_much_for_the_device() -> None:
    jnp.zeros(2**46).block_until_ready()


def _told_otherwise() -> None:
    try:
        raise MemoryError
    except MemoryError as error:
        raise cli.UserError("config.json: damaged; download it again") from error


def _no_thread() -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("work", [_run_out, _too_much_for_the_device, _told_otherwise, _no_thread])
def test_however_it_is_said(work, monkeypatch, capsys):
    monkeypatch.setattr(cache, "run", lambda *_: work())
    assert cli.main(["cache"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("jaxcbm: error: not enough memory (") and len(said.splitlines()) == 1
    assert "damaged" not in said
