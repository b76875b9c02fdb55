"""One run at a time in a work directory, also where several machines share its file system.

The lock is a file that says who holds it. On the holder's own machine the list of processes tells
whether it still runs; elsewhere, the time at which it last touched the file.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from jaxcbm.distributed.processes import leave_now, main_alone
from jaxcbm.errors import UserError
from jaxcbm.ordinary_file import read_ordinary

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
    said = main_alone("lock", lambda: _lock(workdir, flag))
    if said is None:
        yield
        return
    file, over = workdir / LOCK_FILE, threading.Event()
    beat = threading.Thread(target=_beat, args=(file, said, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with contextlib.suppress(OSError):
            _set_aside(file, file.with_name(f"{LOCK_FILE}.{said['token']}.old"), said)


def _lock(workdir: Path, flag: str) -> dict[str, Any]:
    """Take the lock of a work directory, which is made; what it then says."""
    if workdir.is_file():
        raise UserError(f"{flag}={workdir} is a file: name a folder")
    # `Path` makes one slash of two.
    if workdir.parts and re.fullmatch(r"[a-z][a-z0-9+.-]+:", workdir.parts[0]):
        raise UserError(
            f"{flag}={workdir} is no folder of a file system: checkpoints and the lock need its "
            "renames and links (config.features may lie there)"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        return _take(workdir / LOCK_FILE, flag)
    except OSError as error:
        why = f"{error.strerror}"
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            why += "; it needs a file system with hard links and atomic renames, a disk or NFS"
        raise UserError(f"cannot lock {flag}={workdir}: {why}") from error


def _take(file: Path, flag: str) -> dict[str, Any]:
    """Put the lock there; what it says. Raises `UserError` while a living process has it."""
    token = f"{os.getpid()}.{secrets.token_hex(4)}"
    mine = file.with_name(f"{file.name}.{token}")
    said = {**_identity(os.getpid()), "host": socket.gethostname(), "since": _now(), "token": token}
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
            _set_aside(file, file.with_name(f"{mine.name}.old"), holder)
    finally:
        mine.unlink()
    return said


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
        found = json.loads(read_ordinary(file))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):  # damaged; it is known by its age alone
        return {}
    return found if isinstance(found, dict) else {}


def _beat(file: Path, said: dict[str, Any], over: threading.Event) -> None:
    """Touch the lock again and again; end this process where another run has taken it over.

    That happens to one that was suspended for minutes: it must not write beside its successor.
    """
    while not over.wait(_BEAT):
        with contextlib.suppress(OSError):
            found = _read(file)
            if found is not None and found != said:
                _give_way(file, found)
            os.utime(file)


def _give_way(file: Path, holder: dict[str, Any]) -> NoReturn:
    by = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
    # Not through print: the main thread may hold the stream's lock.
    os.write(2, f"jaxcbm: error: stopped: {file.parent} was taken over by {by}\n".encode())
    leave_now(2)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z")
