"""How busy the machine was before and while something ran on it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# The system makes the average anew that often.
_SECONDS = 5.0


@dataclass
class Load:
    """Load averages over one minute, of the whole machine; NaN where the system keeps none.

    Attributes:
        before: when it began: what other work there was.
        largest: while it ran, its own work included.
        cores: of the machine.
    """

    before: float
    largest: float
    cores: int

    def __str__(self) -> str:
        return f"{self.before:.1f} before, at most {self.largest:.1f} meanwhile, {self.cores} cores"


def load_average() -> float:
    """Tasks that ran or wanted to, averaged over the last minute; NaN where nothing is known."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return float("nan")


@contextmanager
def watch_load() -> Iterator[Load]:
    """The load before a block, and its largest while the block runs.

    >>> with watch_load() as load:
    ...     pass
    >>> load.cores >= 1
    True
    """
    now = load_average()
    load = Load(now, now, os.cpu_count() or 1)
    done = threading.Event()

    def look() -> None:
        last = False
        while not last:
            last = done.wait(_SECONDS)
            load.largest = max(load.largest, load_average())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield load
    finally:
        done.set()
        watcher.join()
