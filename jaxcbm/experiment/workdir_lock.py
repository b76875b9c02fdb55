"""One run at a time in a work directory, also where several machines share its file system.

The lock is a file that says who holds it. On the holder's own machine the list of processes tells
whether it still runs; elsewhere, the time at which it last touched the file.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcbm.distributed.processes import is_main
from jaxcbm.errors import UserError

LOCK_FILE = ".lock"
# Seconds between touches, and after how many without one the holder on another machine is gone.
_BEAT, _STALE = 20.0, 180.0


@contextlib.contextmanager
def hold(workdir: Path, flag: str = "--workdir") -> Iterator[None]:
    """Keep every other run out of a work directory for as long as the block lasts.

    Of a run in several processes, process 0 holds it. What a dead process left is taken over.

    Raises:
        UserError: another run holds it; says who, where and since when.
    """
    if not is_main():
        yield
        return
    if workdir.is_file():
        raise UserError(f"{flag}={workdir} is a file: name a folder")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = workdir / LOCK_FILE
        _take(file, flag)
    except OSError as error:
        raise UserError(f"cannot lock {flag}={workdir}: {error.strerror}") from error
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(file, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with contextlib.suppress(OSError):
            file.unlink()


def _take(file: Path, flag: str) -> None:
    """Put the lock there; raises `UserError` while a living process has it."""
    token = f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}"
    mine = file.with_name(token)
    said = {**_identity(os.getpid()), "host": socket.gethostname(), "since": _now()}
    mine.write_text(json.dumps(said), encoding="utf-8")
    try:
        while not _linked(mine, file):
            holder = _read(file)
            if holder is None:
                continue  # given back meanwhile
            if _lives(holder, file, mine):
                raise UserError(
                    f"{file.parent} is in use by process {holder.get('pid')} on "
                    f"{holder.get('host')} since {holder.get('since')}: wait for it, or choose "
                    f"another {flag}"
                )
            _set_aside(file, file.with_name(f"{token}.old"), holder)
    finally:
        mine.unlink()


def _linked(mine: Path, file: Path) -> bool:
    """Whether the lock is ours now: a link is made by one process alone, on NFS too."""
    try:
        os.link(mine, file)
    except FileExistsError:
        return False
    return True


def _set_aside(file: Path, aside: Path, holder: dict[str, Any]) -> None:
    """Take a dead holder's lock away, and no other that came in its place meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(file, aside)
        if _read(aside) != holder:
            with contextlib.suppress(FileExistsError):
                os.link(aside, file)
        aside.unlink()


def _lives(holder: dict[str, Any], file: Path, mine: Path) -> bool:
    pid, machine = holder.get("pid"), holder.get("machine")
    if isinstance(pid, int) and machine and machine == _identity(os.getpid())["machine"]:
        return _identity(pid)["started"] == holder.get("started") is not None
    try:  # by the clock of the file system: those of two machines may differ
        os.utime(mine)
        return mine.stat().st_mtime - file.stat().st_mtime < _STALE
    except FileNotFoundError:
        return False


def _identity(pid: int) -> dict[str, Any]:
    """What tells a process from all others, where the system says so; numbers are used again."""
    machine = started = None
    with contextlib.suppress(OSError, IndexError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        machine = f"{boot} {os.readlink('/proc/self/ns/pid')}"
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        started = None if state == "Z" else fields[18]
    return {"pid": pid, "machine": machine, "started": started}


def _read(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # damaged; it is known by its age alone
        return {}
    return found if isinstance(found, dict) else {}


def _beat(file: Path, over: threading.Event) -> None:
    while not over.wait(_BEAT):
        with contextlib.suppress(OSError):
            os.utime(file)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
