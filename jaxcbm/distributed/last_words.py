"""What JAX's runtime writes as it ends the survivors of a dead process, put into one line.

The runtime aborts by itself, with a page of errors and addresses, and takes no other answer. So
what it writes to the process's standard error goes through a small program, which outlives it;
what Python writes does not.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

_LINE = "jaxcbm: stopped, because {} has died; the same command continues\n"
_LOGGED = re.compile(r"[IWEF]\d{4} [\d:.]+ +\d+ ([\w.]+):\d+\]")
_SPEAKERS = ("coordination_service", "preemption_sync_manager")
_DYING = "Terminating process because the JAX distributed service"
_SILENT = re.compile(r"stopped sending heartbeats\):\s+(\d+)\n")

_filter: subprocess.Popen[bytes] | None = None


def listen() -> None:
    """From now on, for as long as this process is part of a run."""
    from absl import logging  # not in the small program

    global _filter
    if _filter is not None:
        return
    own = os.dup(2)
    command = [sys.executable, "-I", "-S", __file__]
    _filter = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=own, stderr=own, start_new_session=True
    )
    assert _filter.stdin is not None
    sys.stderr.flush()
    how: Any = {"encoding": sys.stderr.encoding, "errors": "backslashreplace"}
    sys.stderr = open(own, "w", buffering=1, **how)  # noqa: SIM115 - until the process ends
    # It says everything twice where its stream is not standard error.
    logging.get_absl_handler().python_handler.stream = sys.stderr
    os.dup2(_filter.stdin.fileno(), 2)
    _filter.stdin.close()


def stop() -> None:
    """The run is over: standard error is what it was."""
    global _filter
    if _filter is not None:
        os.dup2(sys.stderr.fileno(), 2)
        _filter.wait()
        _filter = None


def in_a_line(lines: Iterable[str]) -> Iterator[str]:
    """All lines; those of the runtime on a dead process, if it ends this one, become one.

    >>> said = "E1128 09:10:14.98 251 coordination_service.cc:15] unhealthy (stopped sending "
    >>> page = [said + "heartbeats):", "1", "Check the logs"]
    >>> dying = "F1128 09:10:14.99 251 client.h:80] Terminating process because the JAX distributed"
    >>> page += [dying + " service detected fatal errors.", "*** Check failure stack trace: ***"]
    >>> for line in in_a_line(f"{line}\\n" for line in ["before", *page]):
    ...     print(line, end="")
    before
    jaxcbm: stopped, because process 1 has died; the same command continues
    """
    left_out: list[str] = []
    ours = True
    for line in lines:
        if logged := _LOGGED.match(line):
            ours = not logged[1].startswith(_SPEAKERS) and _DYING not in line
        elif line.startswith("jaxcbm:"):
            ours = True
        if ours:
            yield line
        else:
            left_out.append(line)
    page = "".join(left_out)
    if _DYING in page:
        silent = _SILENT.search(page)
        page = _LINE.format(f"process {silent[1]}" if silent else "another process")
    yield page


if __name__ == "__main__":
    for written in in_a_line(sys.stdin):
        sys.stdout.write(written)
        sys.stdout.flush()
