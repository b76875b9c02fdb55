"""Asking a server again when it is busy or stumbles, and waiting as long as it wants."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from jaxcbm.errors import UserError

T = TypeVar("T")


class Transient(Exception):
    """A failure that may pass.

    Args:
        reason: in words.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """How often a server is asked again.

    Attributes:
        attempts: tries in all, at least 1.
        first_wait: seconds before the second try; every further wait is twice as long, and each is
            varied by a quarter so that several askers do not return together.
        longest_wait: seconds; a server that asks for more ends the run.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 120.0

    def __post_init__(self):
        if self.attempts < 1 or self.first_wait < 0 or self.longest_wait < 0:
            raise UserError(f"{self} is impossible: attempts >= 1, waits >= 0")


def with_retries(
    ask: Callable[[], T],
    retry_policy: RetryPolicy,
    where: str,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """What `ask` returns, asking again while it raises `Transient`.

    Args:
        ask: one try.
        retry_policy: how often and how long.
        where: whom it asks, for the message.
        sleep: waits that many seconds.

    Raises:
        UserError: the last try failed too, or the server wants a longer wait than is allowed.

    >>> with_retries(lambda: 3, RetryPolicy(), "http://localhost")
    3
    """
    wait = retry_policy.first_wait
    for attempt in range(1, retry_policy.attempts + 1):
        try:
            return ask()
        except Transient as failure:
            if attempt == retry_policy.attempts:
                raise UserError(
                    f"no answer from {where} in {attempt} tries, at last: {failure} (what was "
                    "answered is kept; the same command continues)"
                ) from None
            asked = failure.retry_after
            if asked is not None and asked > retry_policy.longest_wait:
                raise UserError(
                    f"{where} asks to wait {asked:.0f} s ({failure}): run the same command later; "
                    "what was answered is kept"
                ) from None
            usual = min(wait, retry_policy.longest_wait) * random.uniform(0.75, 1.25)
            sleep(usual if asked is None else asked)
            wait *= 2
    raise AssertionError("a retry policy of no attempts")


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for; None if it says nothing we understand.

    Reference:
        RFC 9110, section 10.2.3: seconds, or a date.

    >>> retry_after_seconds("2"), retry_after_seconds("soon"), retry_after_seconds(None)
    (2.0, None, None)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max((date - (now or datetime.now(UTC))).total_seconds(), 0.0)
