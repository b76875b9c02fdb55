"""Batches from disk: right content, each row read once, memory bounded by windows."""

import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.data.store.row_file import RowFile
from jaxcbm.data.store.sharded_rows import ShardedRows
from jaxcbm.data.store.shards import read_shard, write_shard
from jaxcbm.data.stream.batches import FeatureRows, Share, blocks_in_order, feature_batches
from jaxcbm.data.stream.order import StreamOrder

WIDTH = 16


def store(folder, count, shard=64, dtype=np.float32):
    """Row i holds i, i + 1/4, ...: its content tells its number."""
    rows = (np.arange(count)[:, None] + np.arange(WIDTH)[None, :] / 4).astype(dtype)
    parts = [rows[start : start + shard] for start in range(0, count, shard)]
    found = []
    for number, part in enumerate(parts):
        write_shard(folder, number, part, ())
        opened = read_shard(folder, number, len(part), WIDTH, np.dtype(dtype))
        assert opened is not None
        found.append(opened.rows)
    return rows, FeatureRows(ShardedRows(tuple(found)), np.arange(count, dtype=np.int32))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_batches_hold_the_rows_that_their_labels_name(tmp_path, dtype):
    rows, stored = store(tmp_path, 200, shard=30, dtype=dtype)
    order = StreamOrder(200, 25, seed=1, window=75)
    batches = list(feature_batches(stored, order, epoch=2))
    assert len(batches) == 8 and batches[0].embeddings.dtype == dtype
    for batch in batches:
        np.testing.assert_array_equal(batch.embeddings, rows[batch.labels])
    assert sorted(np.concatenate([batch.labels for batch in batches])) == list(range(200))


@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_an_epoch_goes_on_at_any_step(tmp_path, step):
    _, stored = store(tmp_path, 200)
    order = StreamOrder(200, 25, seed=1, window=75)
    whole = list(feature_batches(stored, order, 0))
    rest = list(feature_batches(stored, order, 0, first_step=step))
    assert len(rest) == 8 - step
    for one, other in zip(whole[step:], rest, strict=True):
        np.testing.assert_array_equal(one.embeddings, other.embeddings)


def test_two_readers_read_every_row_of_an_epoch_once_between_them(tmp_path, monkeypatch):
    _, stored = store(tmp_path, 4096)
    order = StreamOrder(4096, 64, seed=0, window=1024)
    wanted = []
    gather = ShardedRows.__getitem__
    monkeypatch.setattr(
        ShardedRows, "__getitem__", lambda rows, i: wanted.append(len(i)) or gather(rows, i)
    )
    whole = list(feature_batches(stored, order, 0))
    assert sum(wanted) == 4096
    halves = [list(feature_batches(stored, order, 0, share=Share(*s))) for s in ((0, 40), (40, -1))]
    assert sum(wanted) == 2 * 4096
    for batch, *parts in zip(whole, *halves, strict=True):
        joined = np.concatenate([part.labels for part in parts])
        np.testing.assert_array_equal(joined, batch.labels)


def test_memory_is_bounded_by_windows_and_not_by_the_store(tmp_path):
    _, stored = store(tmp_path, 65_536, shard=4096)
    order = StreamOrder(65_536, 256, seed=0, window=4096)
    window, whole = 4096 * WIDTH * 4, 65_536 * WIDTH * 4
    tracemalloc.start()
    for _ in feature_batches(stored, order, 0):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Three windows, the positions of a window, and chunks in passing.
    assert peak < 5 * window < whole / 3


def test_blocks_cover_the_store_and_fill_up_the_last(tmp_path):
    rows, stored = store(tmp_path, 103)
    blocks = list(blocks_in_order(stored, 20))
    assert [int(block.mask.sum()) for block in blocks] == [20] * 5 + [3]
    held = np.concatenate([block.embeddings[block.mask > 0] for block in blocks])
    np.testing.assert_array_equal(held, rows)
    parts = [list(blocks_in_order(stored, 20, part=part)) for part in ((0, 7), (7, 20))]
    for block, *pieces in zip(blocks, *parts, strict=True):
        joined = np.concatenate([piece.embeddings for piece in pieces])
        np.testing.assert_array_equal(joined, block.embeddings)
    odd = [block.labels[0] for block in blocks_in_order(stored, 20, first=1, stride=2)]
    assert odd == [20, 60, 100]


def test_positives_are_asked_for_the_rows_of_the_batch(tmp_path):
    _, stored = store(tmp_path, 40)
    stored = stored._replace(positives=lambda rows: (rows[:, None] % 2).astype(np.uint8))
    for batch in feature_batches(stored, StreamOrder(40, 8, 0, 16), 0):
        np.testing.assert_array_equal(batch.positives[:, 0], batch.labels % 2)


def test_a_file_is_read_at_any_positions_as_an_array_is(tmp_path):
    array = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", array)
    rows = RowFile.open(tmp_path / "rows.npy")
    for index in (slice(10, 20), slice(90, 5, -7), np.array([99, 0, 50, 50, 3]), np.array([], int)):
        np.testing.assert_array_equal(rows[index], array[index])
    np.testing.assert_array_equal(rows[7], array[7])
    with (tmp_path / "rows.npy").open("r+b") as file:
        file.truncate(500)
    with pytest.raises(OSError, match="cut off"):
        rows.read(0, 100)
