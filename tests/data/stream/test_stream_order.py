"""Every row once an epoch, whatever the sizes; and who reads it changes nothing."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcbm.data.stream.order import StreamOrder, shuffle_chunks, window_rows


@st.composite
def orders(draw):
    rows = draw(st.integers(1, 3000))
    batch = draw(st.integers(1, rows))
    return StreamOrder(rows, batch, draw(st.integers(0, 9)), draw(st.integers(1, 2 * rows)))


def epoch_of(order, epoch=0, cuts=(0, -1)):
    """All batches of an epoch, [steps, batch], put together from parts of the streams."""
    chunk_order = shuffle_chunks(order, epoch)
    windows = range(-(-order.steps // order.window_steps))
    parts = [
        np.concatenate([window_rows(chunk_order, window, *streams) for window in windows])
        for streams in itertools.pairwise(cuts)
    ]
    return np.concatenate(parts, axis=1).reshape(order.steps, order.batch)


@settings(max_examples=150, deadline=None)
@given(orders(), st.integers(0, 3))
def test_an_epoch_has_every_row_once_but_those_that_fill_no_batch(order, epoch):
    rows = epoch_of(order, epoch)
    assert rows.shape == (order.rows // order.batch, order.batch)
    assert len(np.unique(rows)) == rows.size and rows.min() >= 0 and rows.max() < order.rows


@settings(max_examples=60, deadline=None)
@given(orders(), st.data())
def test_the_order_does_not_depend_on_how_lanes_are_shared_between_processes(order, data):
    cuts = data.draw(st.lists(st.integers(1, order.streams), max_size=4, unique=True).map(sorted))
    cuts = sorted({0, *cuts, order.streams})
    np.testing.assert_array_equal(epoch_of(order, cuts=cuts), epoch_of(order))


def test_seed_and_epoch_change_the_order_and_nothing_else_does():
    order = StreamOrder(1000, 50, seed=0, window=300)
    first = epoch_of(order)
    np.testing.assert_array_equal(first, epoch_of(order))
    assert not np.array_equal(first, epoch_of(order, epoch=1))
    assert not np.array_equal(first, epoch_of(order._replace(seed=1)))


def test_what_is_left_out_changes_with_the_epoch():
    order = StreamOrder(103, 10, seed=0, window=50)
    left = [frozenset(set(range(103)) - set(epoch_of(order, e).ravel().tolist())) for e in range(9)]
    assert len(set(left)) > 5 and len(frozenset.union(*left)) > 10


def test_a_batch_mixes_the_whole_store_also_where_neighbours_are_alike():
    """Rows sorted by class, the worst case: every batch still has nearly all of 10 classes."""
    order = StreamOrder(200_000, 512, seed=0, window=8192)
    rows = epoch_of(order)
    classes = rows * 10 // order.rows
    present = [len(np.unique(batch)) for batch in classes]
    assert min(present) >= 9 and np.mean(present) > 9.9


def test_rows_are_read_in_runs_as_long_as_a_chunk():
    order = StreamOrder(1_000_000, 512, seed=0, window=131_072)
    rows = np.sort(window_rows(shuffle_chunks(order, 0), 1), axis=None)
    runs = 1 + np.count_nonzero(np.diff(rows) > 1)
    assert order.chunk == 256 and len(rows) / runs > 200


def test_few_rows_are_shuffled_one_by_one():
    order = StreamOrder(200, 20, seed=0, window=10_000)
    assert order.chunk == 1 and order.window_steps == order.steps
