"""Every picture gets its own answer, in the order in which they came, and none is left behind."""

import threading
import time
from concurrent.futures import wait

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.errors import UserError
from jaxcbm.serve.batcher import Batcher, QueueFull, Stopped, batch_sizes, best_size


class Device:
    """Says of each picture what number it holds, remembers its batches, and can be held up."""

    def __init__(self):
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.fails: set[int] = set()

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.open.wait()
        numbers = pixels.astype(int) @ [1, 256]
        self.batches.append(numbers.tolist())
        if self.fails & set(numbers.tolist()):
            raise RuntimeError("no memory")
        return numbers


def picture(number: int) -> np.ndarray:
    return np.array([number % 256, number // 256], np.uint8)


def started(device: Device, **options) -> Batcher:
    batcher = Batcher(device, (2,), **options)
    assert batcher.ready.wait(10)
    device.batches.clear()
    return batcher


def answer(future) -> int:
    found = future.result(10)
    return int(found.batch[found.row])


@settings(max_examples=40)
@given(
    bursts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    largest=st.sampled_from([1, 2, 4, 16]),
    cancelled=st.sets(st.integers(1, 160)),
)
def test_each_gets_its_own_answer_in_order_whatever_comes_when(bursts, largest, cancelled):
    device = Device()
    batcher = started(device, max_batch=largest, limit=1000)
    # Held up, so that bursts wait together; the first batch is taken alone.
    device.open.clear()
    first = batcher.submit(picture(0))
    while not first.running():
        time.sleep(0.001)
    futures, number = {0: first}, 0
    for burst in bursts:
        for _ in range(burst):
            number += 1
            futures[number] = batcher.submit(picture(number))
    gone = {n for n in cancelled if n in futures and futures[n].cancel()}
    device.open.set()
    batcher.stop()
    for n, future in futures.items():
        assert future.cancelled() if n in gone else answer(future) == n
    rows = [n for batch in device.batches[1:] for n in batch if n]
    assert rows == [n for n in sorted(futures) if n not in gone and n]
    assert {len(batch) for batch in device.batches} <= set(batcher.sizes)


@settings(max_examples=100)
@given(limit=st.integers(1, 20), asked=st.lists(st.integers(1, 8), max_size=12))
def test_there_are_never_more_under_way_than_there_are_places(limit, asked):
    batcher = started(Device(), max_batch=1, limit=limit)
    taken, held = 0, []
    for count in asked:
        places = batcher.places(count)
        if taken + count > limit:
            with pytest.raises(QueueFull):
                places.__enter__()
        else:
            places.__enter__()
            held.append(places)
            taken += count
        assert batcher.under_way == taken
    for places in held:
        places.__exit__(None, None, None)
    assert batcher.under_way == 0
    batcher.stop()


def test_many_threads_at_once_are_not_mixed_up():
    batcher = started(Device(), max_batch=8, limit=10_000)
    wrong = []

    def client(start: int) -> None:
        for n in range(start, start + 200):
            found = answer(batcher.submit(picture(n)))
            wrong.extend([(n, found)] * (found != n))

    clients = [threading.Thread(target=client, args=(1000 * i,)) for i in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    batcher.stop()
    assert not wrong


def test_a_batch_that_fails_takes_no_other_with_it():
    device = Device()
    batcher = started(device, max_batch=1)
    device.fails = {3}
    futures = [batcher.submit(picture(n)) for n in range(5)]
    wait(futures)
    assert [n for n, each in enumerate(futures) if each.exception()] == [3]
    assert batcher.healthy
    with pytest.raises(RuntimeError, match="no memory"):
        batcher.submit(picture(3)).result(10)
    assert not batcher.healthy
    assert answer(batcher.submit(picture(4))) == 4 and batcher.healthy
    batcher.stop()


def test_a_model_that_cannot_be_compiled_takes_nothing():
    device = Device()
    device.open.clear()
    device.fails = {0}
    batcher = Batcher(device, (2,))
    early = batcher.submit(picture(1))
    device.open.set()
    with pytest.raises(RuntimeError, match="no memory"):
        early.result(10)
    assert not batcher.ready.is_set() and not batcher.healthy
    with pytest.raises(Stopped):
        batcher.submit(picture(1))
    batcher.stop()


def test_what_waits_at_the_end_is_answered_and_nothing_more_taken():
    device = Device()
    batcher = started(device, max_batch=4)
    device.open.clear()
    futures = [batcher.submit(picture(n)) for n in range(10)]
    ending = threading.Thread(target=batcher.stop)
    ending.start()
    time.sleep(0.05)
    with pytest.raises(Stopped):
        batcher.submit(picture(11))
    with pytest.raises(Stopped), batcher.places(1):
        pass
    device.open.set()
    ending.join(10)
    assert list(map(answer, futures)) == list(range(10))


@given(waiting=st.integers(1, 100), a=st.floats(0, 10), b=st.floats(0.01, 10))
def test_the_size_is_one_that_answers_fastest(waiting, a, b):
    seconds = {size: a + b * size for size in batch_sizes(64)}
    chosen = best_size(waiting, seconds)
    rates = {size: min(waiting, size) / seconds[size] for size in seconds}
    assert rates[chosen] == max(rates.values())


def test_sizes_are_powers_of_two_and_pictures_of_one_shape():
    for wrong in (0, 3, 48):
        with pytest.raises(UserError, match="power of two"):
            batch_sizes(wrong)
    batcher = started(Device(), max_batch=1)
    for wrong in (np.zeros(3, np.uint8), np.zeros(2, np.float32)):
        with pytest.raises(ValueError, match="is not uint8"):
            batcher.submit(wrong)
    batcher.stop()
