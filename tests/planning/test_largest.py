"""The search for the largest batch, on made-up memory."""

import pytest

from jaxcbm.planning.largest import largest_batch


def search(measure, usable, *, known, tries=8, limit=4096, unit=1):
    return largest_batch(measure, unit=unit, limit=limit, usable=usable, known=known, tries=tries)


@pytest.mark.parametrize("usable", [150.0, 999.0, 5000.0, 41_060.0])
@pytest.mark.parametrize("start", [1, 16, 1024, 48])
def test_a_line_is_found_in_few_compilations(usable, start):
    def measure(size):
        return 100.0 + 10.0 * size

    found = search(measure, usable, known={start: measure(start)})
    best = max(n for n in (*(1 << e for e in range(13)), start) if measure(n) <= usable)
    assert found.batch == best
    assert len(found.tried) <= 4
    assert all(measure(size) == needed for size, needed in found.tried.items())


def test_curves_are_halved():
    def measure(size):
        return float(size) ** 2 + (1e4 if size > 300 else 0)

    found = search(measure, 1e5, known={2: measure(2)})
    assert (found.batch, found.next) == (256, 512)
    assert len(found.tried) <= 6


def test_nothing_fits():
    found = search(lambda size: 50.0 + size, 10.0, known={64: 114.0})
    assert found.batch == 0 and found.next == 1


def test_everything_fits():
    found = search(lambda size: 1.0, 10.0, known={64: 1.0})
    assert found.at_limit and found.batch == 4096 and found.next == 0


def test_a_search_without_tries_says_what_is_known():
    found = search(lambda size: pytest.fail("compiled"), 10.0, known={64: 1.0}, tries=0)
    assert found.batch == 64 and not found.at_limit and not found.tried


def test_sizes_are_multiples_of_the_unit():
    sizes = []
    search(lambda size: sizes.append(size) or 3.0 * size, 1000.0, known={24: 72.0}, unit=24)
    assert sizes and all(size % 24 == 0 for size in sizes)
