"""What the line says, on a terminal and elsewhere."""

import io

import pytest

from jaxcbm.data.pipeline import map_ahead
from jaxcbm.data.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def spoken(stream: io.StringIO, steps: list[tuple[float, int]], **options) -> str:
    times = iter([seconds for seconds, _ in steps])
    line = ProgressLine("encode", "images", stream, clock=lambda: next(times), **options)
    for _, done in steps:
        line(done, 10_000)
    return stream.getvalue()


def test_plain_lines_now_and_then():
    steps = [(0, 1000), (1, 1100), (11, 2100), (12, 2200), (91, 10_000)]
    assert spoken(io.StringIO(), steps) == (
        "encode: 2100/10000 images, 100.0 images/s, 1 min 19 s left\n"
        "encode: 9000 images in 1 min 31 s (98.9 images/s)\n"
    )


def test_one_moving_line_on_a_terminal():
    text = spoken(Terminal(), [(0, 0), (0.1, 1), (1, 2), (7300, 10_000)])
    assert text == (
        "\r\x1b[Kencode: 2/10000 images, 2 images/s, 1 h 23 min left"
        "\r\x1b[Kencode: 10000 images in 2 h 01 min (1.37 images/s)\n"
    )


def test_a_short_job_says_nothing_when_patience_is_asked_for():
    assert spoken(io.StringIO(), [(0, 0), (1.9, 10_000)], patience=2.0) == ""


def test_no_rate_yet():
    assert "? left" in spoken(Terminal(), [(0, 5), (1, 5)])


def test_map_ahead_keeps_order_bounds_what_waits_and_hands_faults_on():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    results = map_ahead(lambda i: 1 // (15 - i), items(), threads=3, window=4)
    for expected in range(3):
        assert next(results) == 1 // (15 - expected)
        assert len(taken) <= expected + 5
    with pytest.raises(ZeroDivisionError):
        list(results)
