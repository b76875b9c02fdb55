"""Work done ahead in threads, handed over in order, with a bound on what waits."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int, window: int
) -> Iterator[Result]:
    """Like `map`, but `threads` threads work on up to `window` items before they are asked for.

    Pillow, hashlib and the device all release the interpreter while they work, so threads are
    enough, and pixels need not be copied between processes. An exception of `function` is raised
    where its result would have stood.

    >>> list(map_ahead(abs, [-3, 2, -1], threads=2, window=2))
    [3, 2, 1]
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
