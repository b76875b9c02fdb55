"""Pictures of many requests in few compiled batches, in the order in which they came.

Whenever the device is free it takes what waits: nobody is made to wait for company. Batches have a
power of two rows, so that few programs are compiled, and all of them before the first picture.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from absl import logging

from jaxcbm.errors import UserError
from jaxcbm.lines import first_line

R = TypeVar("R")

# A batch that takes longer never comes back: the device, or its driver, hangs.
_STUCK_SECONDS = 60.0
# The shortest of as many runs of a batch is what it takes.
_RUNS = 5


class QueueFull(Exception):
    """As many pictures are under way as may be."""


class Stopped(Exception):
    """Nothing is taken any more."""


class Row(NamedTuple, Generic[R]):
    """Where the answer to one picture stands: the result of its batch, and its row in that."""

    batch: R
    row: int


class Batch(NamedTuple):
    """A batch that was computed.

    Attributes:
        size: its rows, with those that only fill it up.
        count: pictures in it.
        seconds: that it took.
    """

    size: int
    count: int
    seconds: float


class _Job(NamedTuple):
    pixels: np.ndarray
    future: Future


def batch_sizes(largest: int) -> tuple[int, ...]:
    """The powers of two up to a largest size, which is one.

    Raises:
        UserError: it is no power of two.

    >>> batch_sizes(8)
    (1, 2, 4, 8)
    """
    if largest < 1 or largest & (largest - 1):
        raise UserError(f"batches of up to {largest}: give a power of two, such as 32")
    return tuple(1 << i for i in range(largest.bit_length()))


def best_size(waiting: int, seconds: Mapping[int, float]) -> int:
    """The batch size that answers most pictures a second; of equals the larger.

    Where a row costs as much in any batch (a CPU), five pictures are four and one; where a batch
    costs as much with any number of rows (a GPU), they are eight of which three are filling.

    >>> best_size(5, {1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0})
    4
    >>> best_size(5, {1: 1.0, 2: 1.0, 4: 1.0, 8: 1.1})
    8
    """
    return max(seconds, key=lambda size: (min(waiting, size) / seconds[size], size))


class Batcher(Generic[R]):
    """A queue of pictures, and the one thread that works for the device.

    Attributes:
        sizes: rows that a batch may have.
        ready: set once all sizes are compiled.
        failure: why there is no way to go on; None as long as there is.
    """

    def __init__(
        self,
        compute: Callable[[np.ndarray], R],
        shape: tuple[int, ...],
        *,
        max_batch: int = 32,
        limit: int = 256,
        observe: Callable[[Batch], None] = lambda batch: None,
    ):
        """Start its thread, which compiles first.

        Args:
            compute: uint8 [B, *shape] to what is said of B pictures, for every B of `sizes`.
            shape: of one picture.
            max_batch: most rows of a batch, a power of two.
            limit: most pictures under way, from `places` on.
            observe: told of every batch, in that thread.

        Raises:
            UserError: `max_batch` is no power of two.
        """
        self.sizes = batch_sizes(max_batch)
        self.ready = threading.Event()
        self.failure: Exception | None = None
        self._compute, self._shape, self._observe = compute, shape, observe
        self._limit, self._taken = limit, 0
        self._seconds: dict[int, float] = {}
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._busy_since: float | None = None
        self._last_failed = False
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> int:
        """Pictures that have a place."""
        return self._taken

    @property
    def healthy(self) -> bool:
        """Whether the device answers: it still compiles, or its last batch came back."""
        since = self._busy_since
        stuck = since is not None and time.monotonic() - since > _STUCK_SECONDS
        return self.failure is None and not stuck and not self._last_failed

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Places for some pictures, all or none, for as long as their request lives.

        Raises:
            QueueFull: there are fewer left.
            Stopped: nothing is taken any more.
        """
        with self._changed:
            if self._stopping or self.failure is not None:
                raise Stopped
            if self._taken + count > self._limit:
                raise QueueFull
            self._taken += count
        try:
            yield
        finally:
            with self._changed:
                self._taken -= count

    def submit(self, pixels: np.ndarray) -> "Future[Row[R]]":
        """Queue one picture, uint8 of the shape; a future that is cancelled is not computed.

        Raises:
            Stopped: nothing is taken any more.
        """
        if pixels.shape != self._shape or pixels.dtype != np.uint8:
            raise ValueError(f"{pixels.dtype} {pixels.shape} is not uint8 {self._shape}")
        job = _Job(pixels, Future())
        with self._changed:
            if self._stopping or self.failure is not None:
                raise Stopped
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def stop(self) -> None:
        """Take nothing more, compute what waits, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._compile()
        except Exception as error:
            with self._changed:
                self.failure, waiting = error, list(self._waiting)
                self._waiting.clear()
            _fail(waiting, error)
            return
        told = ", ".join(f"{size}: {1000 * took:.3g}" for size, took in self._seconds.items())
        logging.info("ready; milliseconds by batch size: %s", told)
        self.ready.set()
        while (jobs := self._next()) is not None:
            if jobs:
                self._run(jobs)

    def _compile(self) -> None:
        for size in self.sizes:
            pixels = np.zeros((size, *self._shape), np.uint8)
            self._compute(pixels)
            took = []
            for _ in range(_RUNS):
                began = time.perf_counter()
                self._compute(pixels)
                took.append(time.perf_counter() - began)
            # More rows are never worse than as many in two halves: a busy moment is not believed.
            self._seconds[size] = min(*took, 2.0 * self._seconds.get(size // 2, math.inf))

    def _next(self) -> list[_Job] | None:
        """Who comes next; nobody where all have left; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if not self._waiting:
                return None
            self._waiting = deque(job for job in self._waiting if not job.future.cancelled())
            size = best_size(len(self._waiting), self._seconds)
            jobs = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
        return [job for job in jobs if job.future.set_running_or_notify_cancel()]

    def _run(self, jobs: Sequence[_Job]) -> None:
        size = next(size for size in self.sizes if size >= len(jobs))
        pixels = np.zeros((size, *self._shape), np.uint8)
        for row, job in enumerate(jobs):
            pixels[row] = job.pixels
        self._busy_since = began = time.monotonic()
        try:
            batch = self._compute(pixels)
        except Exception as error:
            self._last_failed = True
            logging.error("a batch of %d failed: %s", size, first_line(error))
            _fail(jobs, error)
            return
        finally:
            self._busy_since = None
        self._last_failed = False
        self._observe(Batch(size, len(jobs), time.monotonic() - began))
        for row, job in enumerate(jobs):
            job.future.set_result(Row(batch, row))


def _fail(jobs: Sequence[_Job], error: Exception) -> None:
    for job in jobs:
        # Of those that were not begun, some are cancelled already.
        if job.future.running() or job.future.set_running_or_notify_cancel():
            job.future.set_exception(error)
