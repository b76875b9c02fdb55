"""What one request may bring, what all of them may hold, and how one that may not is refused."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jaxcbm.errors import UserError


class Refusal(Exception):
    """A request that is answered with a status of 400 and more.

    Attributes:
        status: of HTTP.
        reason: one line for whoever sent it.
        retry_after: seconds after which the same request may be welcome; None: never.
    """

    def __init__(self, status: int, reason: str, retry_after: int | None = None):
        super().__init__(reason)
        self.status, self.reason, self.retry_after = status, reason, retry_after


@dataclass(frozen=True)
class Limits:
    """What is accepted.

    Attributes:
        body_bytes: of one request.
        held_bytes: of all requests that are under way.
        pictures: in one request.
        pixels: of one picture.
        queue: pictures under way, from all requests.
        per_client: requests under way from one address; 0: any number.
        connections: at a time.
        header_seconds: from a connection, or the first byte of a request, to the end of its header.
        seconds: from the end of the header to the answer.
        decode_seconds: for one picture.
    """

    body_bytes: int = 32 * 2**20
    held_bytes: int = 256 * 2**20
    pictures: int = 64
    pixels: int = 2**25
    queue: int = 256
    per_client: int = 32
    connections: int = 512
    header_seconds: float = 10.0
    seconds: float = 30.0
    decode_seconds: float = 5.0

    def __post_init__(self) -> None:
        if self.pictures > self.queue:
            raise UserError(
                f"{self.pictures} pictures in a request and {self.queue} in the queue: "
                "such a request would never be taken; make the queue longer"
            )
        if self.body_bytes > self.held_bytes:
            raise UserError(
                f"bodies of {self.body_bytes >> 20} MiB and {self.held_bytes >> 20} MiB for all: "
                "such a body would never be taken; allow more for all"
            )


class Admission:
    """What the requests under way hold; for one thread, that of the event loop."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._requests: Counter[str] = Counter()
        self._held = 0

    @contextmanager
    def client(self, address: str) -> Iterator[None]:
        """One more request from an address.

        Raises:
            Refusal: 429, it has as many under way as it may.
        """
        most = self._limits.per_client
        if most and self._requests[address] >= most:
            raise Refusal(429, f"{most} requests from this address are under way", retry_after=1)
        self._requests[address] += 1
        try:
            yield
        finally:
            self._requests[address] -= 1
            if not self._requests[address]:
                del self._requests[address]

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """A body that grows by as many bytes as it is told, and is let go of at the end.

        Raises:
            Refusal: 413, it is larger than one may be; 503, all together hold too much.
        """
        held = 0

        def grow(count: int) -> None:
            nonlocal held
            if held + count > self._limits.body_bytes:
                raise too_large(self._limits)
            if self._held + count > self._limits.held_bytes:
                raise Refusal(503, "too many bytes are under way", retry_after=1)
            held += count
            self._held += count

        try:
            yield grow
        finally:
            self._held -= held


def too_large(limits: Limits) -> Refusal:
    """413, with what would be small enough."""
    return Refusal(413, f"the body is larger than {limits.body_bytes:,} bytes")
