"""SIGTERM on any process makes all of them stop at the same step.

A loop asks `requested` once a step, on every process the same number of times; where it says
True, it saves a checkpoint and raises `Preempted`. Work that asks nobody, such as reading images
or compiling, is ended after a while: whatever is on disk is whole at any moment.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax.experimental import multihost_utils

from jaxcbm.distributed import processes

EXIT_CODE = 128 + signal.SIGTERM
# Kubernetes and Cloud TPU give 30 seconds before they kill.
_PATIENCE_SECONDS = 25.0
_LOOK_SECONDS = 1.0
# Process 0 keeps the coordination service: it must not leave before the others.
_LAST_SECONDS = 2.0
# Where JAX's preemption service puts the notice that some process got a SIGTERM.
_NOTICE_KEY = "RECEIVED_PREEMPTION_NOTICE"

_signalled = threading.Event()
_answered = threading.Event()
_in_loop = threading.Event()
_over = threading.Event()
_calls = 0
_latest: int | None = None


class Preempted(Exception):
    """The run was asked to stop, and what it has done is on disk.

    Args:
        where: the step, or in words the place, where it stopped.

    >>> print(Preempted(12))
    stopped at step 12; the same command continues
    """

    def __init__(self, where: int | str):
        place = where if isinstance(where, str) else f"step {where}"
        super().__init__(f"stopped at {place}; the same command continues")


@contextmanager
def listening() -> Iterator[None]:
    """Within, SIGTERM is a request to stop; enter it after `processes.start`.

    A process that has not come to the step where all stop within 25 seconds ends itself. One that
    runs alone and in no loop ends at once.
    """
    for event in (_signalled, _answered, _in_loop, _over):
        event.clear()
    if processes.is_distributed():
        # JAX has put its own handler in place, which tells all processes.
        threading.Thread(target=_watch_notice, name="preemption", daemon=True).start()
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread handle signals
        return
    # A handler in Python waits while the main thread is in a long call, such as compiling; the
    # number that arrives in the pipe does not.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    old_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    old = signal.signal(signal.SIGTERM, lambda signum, frame: None)
    os.register_at_fork(after_in_child=_forget)
    watcher = threading.Thread(target=_watch_pipe, args=[reader], name="preemption", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
        signal.set_wakeup_fd(old_writer)
        _over.set()
        os.close(writer)
        watcher.join()


def requested(step: int) -> bool:
    """Whether to save and stop now; True on every process at the same call.

    Every process must ask equally often; what `step` is matters to the message alone. A request
    is seen within about two seconds.
    """
    global _calls, _latest
    _in_loop.set()
    # Loops follow each other and each counts from its own start; JAX wants rising numbers.
    _calls, _latest = _calls + 1, step
    stop = (
        multihost_utils.reached_preemption_sync_point(_calls)
        if processes.is_distributed()
        else _signalled.is_set()
    )
    if stop:
        _answered.set()
    return stop


def notified() -> bool:
    """Whether some process got a SIGTERM, as far as this one knows; others may know later.

    For work that needs no common step, such as shards that each process writes by itself.
    """
    _in_loop.set()
    if not processes.is_distributed():
        return _signalled.is_set()
    return processes.lookup(_NOTICE_KEY) is not None


def _watch_notice() -> None:
    pause = threading.Event()
    while not pause.wait(_LOOK_SECONDS):
        try:
            if processes.lookup(_NOTICE_KEY) is None:
                continue
        except (jax.errors.JaxRuntimeError, RuntimeError):
            return  # the run is over
        return _end_later(_PATIENCE_SECONDS + (_LAST_SECONDS if processes.is_main() else 0.0))


def _watch_pipe(reader: int) -> None:
    with open(reader, "rb", buffering=0) as pipe:
        while number := pipe.read(1):
            if number[0] == signal.SIGTERM:
                _signalled.set()
                return _end_later(_PATIENCE_SECONDS if _in_loop.is_set() else 0.0)


def _forget() -> None:
    # A forked worker is to end when it is told to, and must not speak for its parent.
    if _over.is_set():
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_later(seconds: float) -> None:
    if _over.wait(seconds) or _answered.is_set():
        return  # all is done, or a checkpoint is being written
    after = "" if _latest is None else f" after step {_latest}, which is not saved"
    # Not through print: the main thread may hold the stream's lock.
    message = f"jaxcbm: stopped{after}; the same command continues\n"
    os.write(2, message.encode())
    processes.leave_now(EXIT_CODE)
