"""What comes of reading something hostile: read, refused in one line, or a failure and its kind."""

import faulthandler
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.errors import UserError

READ, REFUSED, FAILURE = "read", "refused in one line", "failure"
MOST_SECONDS = 10.0
# Of resident memory, beyond what the process had before; where nothing else is said.
MOST_MEBIBYTES = 1024
# A line that a person reads to its end.
MOST_CHARACTERS = 2000
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pty.spawn")
_LOADS = ("pickle.find_class", "ctypes.dlopen", "code.__new__")
_CHANGES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1}
_CHANGES |= {"os.link": 2, "os.chmod": 1, "os.truncate": 1, "shutil.rmtree": 1}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Verdict(NamedTuple):
    """What came of one input.

    Attributes:
        verdict: READ, REFUSED or FAILURE.
        said: the message of a refusal, or what the failure is.
        seconds: it took.
        mebibytes: of memory, at the most, beyond what there was.
    """

    verdict: str
    said: str
    seconds: float
    mebibytes: float


def judge(read: Callable[[], Any], folder: Path, mebibytes: float = MOST_MEBIBYTES) -> Verdict:
    """Read something hostile and say what came of it.

    Args:
        read: reads it, and returns what must be finite: arrays, numbers, or nothing.
        folder: the only one in which anything may be written.
        mebibytes: the most memory that it may take.
    """
    seen = _Seen(os.path.realpath(folder))
    before = _resident("VmRSS")
    _forget_peak()
    began = time.monotonic()
    verdict, said = READ, ""
    # Whoever hangs is shown, and ends: a thread of C cannot be stopped otherwise.
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        with _watching(seen), _address_space(mebibytes):
            _require_finite(read())
    # One picture that is left out, and listed, is refused as well.
    except (UserError, UnreadableImage) as error:
        verdict, said = REFUSED, str(error)
        if len(said.splitlines()) != 1 or not said.isprintable() or len(said) > MOST_CHARACTERS:
            verdict, said = FAILURE, f"not one line: {said[:300]!r}"
    except Exception as error:
        verdict, said = FAILURE, f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    seconds, most = time.monotonic() - began, _resident("VmHWM") - before
    if seen.events:
        verdict, said = FAILURE, f"did {seen.events[0]}"
    elif seconds > MOST_SECONDS:
        verdict, said = FAILURE, f"took {seconds:.1f} s"
    elif most > mebibytes:
        verdict, said = FAILURE, f"took {most:.0f} MiB"
    return Verdict(verdict, said, seconds, most)


def _require_finite(value: Any) -> None:
    for each in value if isinstance(value, list | tuple) else [value]:
        if each is not None and not np.isfinite(np.asarray(each, np.float32)).all():
            raise ValueError("numbers that are not finite")


class _Seen:
    """What was done that reading has no business with."""

    def __init__(self, folder: str):
        # Programs that jax has compiled are kept where the environment says.
        compiled = os.environ.get("JAX_COMPILATION_CACHE_DIR", folder)
        self.folders = folder, os.path.realpath(compiled), os.devnull
        self.events: list[str] = []

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _RUNS or event in _LOADS:
            self.events.append(f"{event} {str(arguments)[:200]}")
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                self._written(event, path)
        elif event == "os.symlink":
            source, link = map(os.fsdecode, arguments[:2])
            self._written(event, link)
            self._written(event, os.path.join(os.path.dirname(link), source))
        elif event in ("os.remove", "os.rmdir") and arguments[1] >= 0:
            inside = os.readlink(f"/proc/self/fd/{arguments[1]}")
            self._written(event, os.path.join(inside, os.fsdecode(arguments[0])))
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                self._written(event, path)

    def _written(self, event: str, path: Any) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            place = os.path.realpath(os.fsdecode(path))
            if not place.startswith(self.folders):
                self.events.append(f"{event} {place[:200]}")


_SEEN: list[_Seen] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _SEEN:
        _SEEN[-1].look(event, arguments)


@contextmanager
def _watching(seen: _Seen) -> Iterator[None]:
    # A hook stays for as long as the process does.
    if not hasattr(sys, "_jaxcbm_watched"):
        sys.addaudithook(_hook)
        sys._jaxcbm_watched = True  # pyright: ignore[reportAttributeAccessIssue]
    _SEEN.append(seen)
    try:
        yield
    finally:
        _SEEN.pop()


@contextmanager
def _address_space(mebibytes: float) -> Iterator[None]:
    """A bound far above the stated one, so that what breaks it ends here and not the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    room = int((_resident("VmSize") + 2 * mebibytes + 4096) * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _resident(name: str) -> float:
    """A line of the process's status, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(name)
