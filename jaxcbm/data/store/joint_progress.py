"""How far several processes are together, told by process 0."""

import threading
from collections.abc import Callable
from types import TracebackType

import jax

from jaxcbm.distributed import processes

_TOPIC = "encoding progress"
_LOOK_SECONDS = 1.0


class JointProgress:
    """Call it with what this process has done; process 0 tells what all have done.

    In a single process it passes on what it is told.

    Args:
        tell: called with images done and images in all.
        total: images of all processes.
        done: images of this process that need no work.
    """

    def __init__(self, tell: Callable[[int, int], None], total: int, done: int):
        self._tell, self._total, self._own = tell, total, done
        self._alone = processes.process_count() == 1
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._alone:
            self._tell(done, total)
        else:
            self._own = done

    def __enter__(self) -> "JointProgress":
        if not self._alone:
            # A job before this one has left its count: replaced on all before any is read.
            self._publish()
            processes.barrier(_TOPIC)
            self._thread = threading.Thread(target=self._work, name="progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType
    ) -> None:
        if self._thread is not None:
            self._end.set()
            self._thread.join()

    def _work(self) -> None:
        try:
            self._say()
            while not self._end.wait(_LOOK_SECONDS):
                self._publish()
                self._say()
            self._publish()
            if self._shared() >= self._total:
                self._say()
        except (jax.errors.JaxRuntimeError, RuntimeError):
            return  # the run is over, which others say

    def _publish(self) -> None:
        processes.publish(_TOPIC, str(self._own))

    def _shared(self) -> int:
        return sum(map(int, processes.published(_TOPIC)))

    def _say(self) -> None:
        if processes.is_main():
            self._tell(self._shared(), self._total)
