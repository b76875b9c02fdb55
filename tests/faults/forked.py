"""One command in a process of its own, which meets its end at a moment that is asked for.

The processes are forked from a server that has imported everything and computed nothing: what is
left of a run is the run. Moments are counted in touches of files below the working directory, so
that they lie in the middle of writing as often as the command writes.
"""

import contextlib
import ctypes
import functools
import multiprocessing
import os
import resource
import signal
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        "jaxcbm.cli",
        *(f"jaxcbm.experiment.{name}" for name in ("train", "sweep", "reproduce", "pretrain")),
        *(f"jaxcbm.experiment.{name}" for name in ("encode", "edit", "explain", "predict")),
        *("jaxcbm.report.sweep_pages", "jaxcbm.commands.report", "jaxcbm.experiment.showcase"),
    ]
)
LIMIT_SECONDS = 180.0
_TOUCHES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.link", "os.utime")
_CAPABILITY_VERSION = 0x20080522
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Blow(NamedTuple):
    """A signal at a moment, or something that the system does to a process.

    Attributes:
        number: of the signal; 0 for none.
        touch: comes at this touch of a file, from 1; 0 for before the command begins.
        seconds: so long after it.
        written: from then on no file can hold more than so many bytes. With SIGXFSZ the system
            ends the process in the middle of the write; without a signal the write fails, as it
            does on a full disk.
        clock: the clock jumps by so many seconds.
        does: is called, in the folder.
        opened: openings of files in here are counted, and not touches; of files that are read too.
    """

    number: int
    touch: int
    seconds: float = 0.0
    written: int | None = None
    clock: float = 0.0
    does: Callable[[], object] | None = None
    opened: str = ""

    def __str__(self) -> str:
        quiet = "clock" if self.clock else str(self.does or "full disk")
        name = signal.Signals(self.number).name if self.number else quiet
        after = f" and {self.seconds:.3f} s" if self.seconds else ""
        within = f", beyond byte {self.written} of a file" if self.written is not None else ""
        return f"{name} at touch {self.touch}{after}{within}"


class Ended(NamedTuple):
    """What a process left.

    Attributes:
        code: its exit code; a negative one is the signal that ended it.
        said: on standard error and output.
        touches: of files.
        seconds: it took.
    """

    code: int
    said: str
    touches: int
    seconds: float


def run(argv: Sequence[str], folder: Path, blow: Blow | None = None) -> Ended:
    """Run `jaxcbm ARGV` in a folder."""
    touches = _FORKED.Value("i", 0)
    reader, writer = _FORKED.Pipe(duplex=False)
    process = _FORKED.Process(target=_child, args=(list(argv), str(folder), blow, touches, writer))
    began = time.monotonic()
    process.start()
    writer.close()
    said: list[bytes] = []

    def listen() -> None:
        with contextlib.suppress(OSError):
            while content := os.read(reader.fileno(), 1 << 16):
                said.append(content)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    process.join(LIMIT_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        said.append(b"\nHANGS")
    listener.join(5)
    code = process.exitcode
    assert code is not None
    text = b"".join(said).decode(errors="replace")
    return Ended(code, text, touches.value, time.monotonic() - began)


def _child(argv: list[str], folder: str, blow: Blow | None, touches: Any, writer: Any) -> None:
    os.chdir(folder)
    # As root, too, no file is written where its permissions say no: no thread has begun yet.
    ctypes.CDLL(None).capset(struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24))
    for number in (1, 2):
        os.dup2(writer.fileno(), number)
    warnings.simplefilter("default")
    # Tests in the background of a shell ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if blow is not None and blow.number == signal.SIGXFSZ:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    counter = _Counter(folder, blow, touches)
    sys.addaudithook(counter)
    from jaxcbm import cli
    from jaxcbm.data.store import feature_store
    from jaxcbm.experiment import prepare, train

    prepare.encode = functools.partial(feature_store.encode, shard_size=4)
    # Pictures for people cost as much as all the rest; `evaluate` draws some of them.
    train.draw = train.draw_explanation = lambda *_: None
    if blow is not None and blow.touch == 0:
        counter.strike(blow)
    code = cli.main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    # As the interpreter ends: its own exit handlers, which multiprocessing leaves out.
    import atexit

    atexit._run_exitfuncs()
    os._exit(code)


def leave_memory(mebibytes: int, limit: int = resource.RLIMIT_AS) -> None:
    """Let this process take so much more memory, as `ulimit -v` does."""
    status = Path("/proc/self/status").read_text()
    name = "VmSize:" if limit == resource.RLIMIT_AS else "VmData:"
    now = int(status.partition(name)[2].split()[0]) << 10
    _, most = resource.getrlimit(limit)
    resource.setrlimit(limit, (now + (mebibytes << 20), most))


class _Counter:
    """Counts touches of files in a folder, and strikes at one of them."""

    def __init__(self, folder: str, blow: Blow | None, touches: Any):
        self.folder, self.blow, self.touches = folder, blow, touches
        self.opened = os.path.join(folder, blow.opened) if blow and blow.opened else ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not flags & _WRITES and not self.opened:
                return
        elif event in _TOUCHES and not self.opened:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike):
            return
        place = os.fspath(path)
        if not isinstance(place, str):
            return
        if not os.path.join(self.folder, place).startswith(self.opened or self.folder):
            return
        with self.touches.get_lock():
            self.touches.value += 1
            here = self.touches.value
        if self.blow is not None and here == self.blow.touch:
            self.strike(self.blow)

    def strike(self, blow: Blow) -> None:
        if blow.does is not None:
            blow.does()
        elif blow.clock:
            now = time.time
            time.time = lambda: now() + blow.clock
        elif blow.written is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (blow.written, resource.RLIM_INFINITY))
        elif blow.seconds:
            timer = threading.Timer(blow.seconds, os.kill, (os.getpid(), blow.number))
            timer.daemon = True
            timer.start()
        else:
            os.kill(os.getpid(), blow.number)
