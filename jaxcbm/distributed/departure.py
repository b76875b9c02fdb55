"""How a process of a run ends: a failure of one ends all, at once and with its reason.

Without this the others would wait half a minute for a sign of life, and then would not know why.
"""

import json
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

import jax

from jaxcbm.distributed import processes

_KEY = "jaxcbm/failed"
_LOOK_SECONDS = 1.0
# For the others to see the reason before the service goes away with process 0.
_FAREWELL_SECONDS = 5

_DIED = "jaxcbm: stopped, because another process has died ({}); the same command continues"

_mine = threading.Lock()


def watch() -> None:
    """From now on, end this process when another one says that it has failed."""
    if processes.process_count() > 1:
        threading.Thread(target=_watch, name="departure", daemon=True).start()


def fail(reason: str, code: int, trace: str = "") -> NoReturn:
    """Tell the others why this process cannot go on, and end it; they end with the same code.

    Args:
        reason: one line.
        code: exit code.
        trace: where this happened, printed unless the cause is the death of another process.
    """
    if processes.process_count() == 1:
        processes.leave_now(code)
    if _mine.acquire(blocking=False):
        said = json.dumps({"process": processes.process_index(), "reason": reason, "code": code})
        # Perhaps another one was first, or the service is gone.
        with suppress(jax.errors.JaxRuntimeError):
            processes.client().key_value_set(_KEY, said)
        everybody = _farewell()
        if trace:
            print(trace if everybody else _DIED.format(reason), file=sys.stderr)
    else:
        # Another one has failed too, and the watching thread is about to end this process.
        time.sleep(2 * _FAREWELL_SECONDS)
    processes.leave_now(code)


def _watch() -> None:
    pause = threading.Event()
    while not pause.wait(_LOOK_SECONDS):
        try:
            said = processes.lookup(_KEY)
        except (jax.errors.JaxRuntimeError, RuntimeError):
            return  # the run is over, in good order or by JAX's own message
        if said is None:
            continue
        if not _mine.acquire(blocking=False):
            return  # this process is failing by itself and has said why
        failure = json.loads(said)
        print(
            f"jaxcbm: stopped, because process {failure['process']} failed: {failure['reason']}",
            file=sys.stderr,
        )
        _farewell()
        processes.leave_now(failure["code"])


def _farewell() -> bool:
    """Whether all the others have heard; for one that does not answer nobody waits longer."""
    try:
        processes.client().wait_at_barrier("jaxcbm/farewell", _FAREWELL_SECONDS * 1000)
    except jax.errors.JaxRuntimeError:
        return False
    return True
