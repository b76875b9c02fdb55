"""How long a busy server is waited for."""

from datetime import UTC, datetime

import pytest

from jaxcbm.concepts.sources.retries import (
    RetryPolicy,
    Transient,
    retry_after_seconds,
    with_retries,
)
from jaxcbm.errors import UserError


def run(failures, retry_policy=RetryPolicy()) -> tuple[list[float], str]:  # noqa: B008 - frozen
    waits: list[float] = []
    failures = list(failures)

    def ask() -> str:
        if failures:
            raise failures.pop(0)
        return "answer"

    return waits, with_retries(ask, retry_policy, "http://host", waits.append)


def test_waits_double_within_a_quarter_and_have_an_end():
    waits, answer = run([Transient("busy")] * 5, RetryPolicy(6, first_wait=1.0, longest_wait=4.0))
    assert answer == "answer" and len(waits) == 5
    assert all(0.75 * w <= wait <= 1.25 * w for w, wait in zip((1, 2, 4, 4, 4), waits, strict=True))


def test_the_servers_own_wish_counts():
    assert run([Transient("busy", 7.5), Transient("busy", 0.0)])[0] == [7.5, 0.0]


def test_the_last_failure_and_too_long_a_wait_are_told():
    with pytest.raises(UserError, match="no answer from http://host in 3 tries, at last: HTTP 503"):
        run([Transient("HTTP 503")] * 3, RetryPolicy(3))
    with pytest.raises(UserError, match="http://host asks to wait 121 s"):
        run([Transient("HTTP 429", 121.0)])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Mon, 01 Jan 2024 00:01:00 GMT", 60.0),
        ("Sun, 31 Dec 2023 23:00:00 GMT", 0.0),
        ("Mon, 01 Jan 2024 00:01:00 -0000", 60.0),
        ("inf", None),
        ("nan", None),
        ("", None),
        ("tomorrow", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert retry_after_seconds(value, datetime(2024, 1, 1, tzinfo=UTC)) == seconds
