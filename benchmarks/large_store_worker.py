"""One process of one stage of `benchmarks.large_store`; prints what it found as JSON.

python -m benchmarks.large_store_worker STAGE SETTINGS PROCESS
"""

import json
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, CONCEPTS = 100, 64
_POOL = 4096
_VALID_SHARDS = 8


class Watch:
    """The most memory that a process held while it was watched, in MiB.

    Anonymous memory is what a process cannot do without; pages of files can be dropped and read
    again. Linux keeps no record of the most of either, so a thread looks twenty times a second.
    """

    def __init__(self):
        self.anonymous = self.file = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            held = dict(line.split(":", 1) for line in status.splitlines())
            self.anonymous = max(self.anonymous, int(held["RssAnon"].split()[0]) / 1024)
            self.file = max(self.file, int(held["RssFile"].split()[0]) / 1024)
            if self._done.wait(0.05):
                return


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of a block."""
    begun = time.monotonic()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.monotonic() - begun


def shard_count(settings: dict[str, Any]) -> int:
    """Shards of the store; the last may be shorter."""
    return -(-settings["images"] // settings["shard"])


def row_sums(rows_NxE: np.ndarray, ids_N: np.ndarray) -> int:
    """A number that changes if a row's bits change, or if it stands under another number."""
    words = rows_NxE.view(np.uint16).view(np.uint64)
    factors = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    hashes = (words * factors[None, :]).sum(axis=1)
    weights = 2 * ids_N.astype(np.uint64) + np.uint64(1)
    return int((hashes * weights).sum())


def write(settings: dict[str, Any], process: int) -> dict[str, Any]:
    """Shards process, process + P, ...: class centres and noise, unit norm, bfloat16."""
    import ml_dtypes

    from jaxcbm.data.store.shards import write_shard

    width, size, checksum, written = settings["width"], settings["shard"], 0, 0
    centres = np.random.default_rng(0).normal(size=(CLASSES, width)).astype(np.float32)
    pool = np.random.default_rng(1).normal(size=(_POOL, width)).astype(np.float32)
    seconds: dict[str, float] = {}
    for number in range(process, shard_count(settings), settings["processes"]):
        ids = np.arange(number * size, min((number + 1) * size, settings["images"]))
        with timed(seconds, "make rows"):
            rng = np.random.default_rng([2, number])
            rows = centres[labels_of(ids)]
            for _ in range(2):
                rows += pool[rng.integers(_POOL, size=len(ids))]
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows.astype(ml_dtypes.bfloat16)
            checksum += row_sums(rows, ids)
        with timed(seconds, "write"):
            write_shard(Path(settings["store"]), number, rows, ())
        written += len(ids)
    return {"seconds": seconds, "rows": written, "checksum": checksum, "found": {}}


def labels_of(ids_N: np.ndarray) -> np.ndarray:
    """Neighbours are of different classes, int32 [N]."""
    return (ids_N * 7919 % CLASSES).astype(np.int32)


def open_store(settings: dict[str, Any]) -> list[Any]:
    """All shards, with every byte checked."""
    import ml_dtypes

    from jaxcbm.data.pipeline import map_ahead
    from jaxcbm.data.store.shards import read_shard

    size, dtype = settings["shard"], np.dtype(ml_dtypes.bfloat16)

    def open_one(number: int) -> Any:
        images = min(size, settings["images"] - number * size)
        return read_shard(Path(settings["store"]), number, images, settings["width"], dtype)

    shards = list(map_ahead(open_one, range(shard_count(settings)), threads=2, window=8))
    if None in shards:
        raise RuntimeError(f"shard {shards.index(None)} is not whole")
    return [shard.rows for shard in shards]


def read(settings: dict[str, Any], process: int) -> dict[str, Any]:
    """An epoch in training's order, or this process's half of it, checked row by row."""
    from jaxcbm.data.store.sharded_rows import ShardedRows
    from jaxcbm.data.stream.batches import FeatureRows, Share, feature_batches
    from jaxcbm.data.stream.order import StreamOrder

    seconds: dict[str, float] = {}
    with timed(seconds, "open and verify"):
        tracemalloc.start()
        shards = open_store(settings)
        index_bytes = tracemalloc.get_traced_memory()[0] / len(shards)
        tracemalloc.stop()
    images = settings["images"]
    # A row's label is its number: so a batch says which rows it holds.
    rows = FeatureRows(ShardedRows(tuple(shards)), np.arange(images, dtype=np.int32))
    # A batch that divides the store, so that no row is left out.
    size = max(d for d in range(1, settings["batch"] + 1) if images % d == 0)
    order = StreamOrder(images, size, seed=0, window=settings["window"])
    streams = order.streams * process // settings["processes"]
    share = Share(streams, order.streams * (process + 1) // settings["processes"])
    seen, checksum = np.zeros(images, bool), 0
    with timed(seconds, "read"):
        for batch in feature_batches(rows, order, 0, share=share):
            assert not seen[batch.labels].any(), "a row came twice"
            seen[batch.labels] = True
            checksum += row_sums(batch.embeddings, batch.labels)
    found = {"batch": size, "index_bytes_a_shard": index_bytes, "chunk": order.chunk}
    return {"seconds": seconds, "rows": int(seen.sum()), "checksum": checksum, "found": found}


def train(settings: dict[str, Any], process: int) -> dict[str, Any]:
    """Statistics, one epoch and validation, by the functions that `jaxcbm.fit` calls."""
    from jaxcbm.distributed.processes import Cluster, finish, start

    several = settings["processes"] > 1
    if several:
        start(Cluster(f"localhost:{settings['port']}", settings["processes"], process))
    import jax

    from jaxcbm.bottleneck.config import BottleneckConfig
    from jaxcbm.distributed.mesh import make_mesh
    from jaxcbm.distributed.placement import replicate
    from jaxcbm.model.texts import Texts
    from jaxcbm.training.config import FitConfig, TrainingConfig
    from jaxcbm.training.feeds import stream_feed
    from jaxcbm.training.fit_arrays import start_on
    from jaxcbm.training.loop import run
    from jaxcbm.training.state import place_state, state_shardings
    from jaxcbm.training.step import make_plan
    from jaxcbm.training.streamed_arrays import make_stream

    seconds: dict[str, float] = {}
    with timed(seconds, "open and verify"):
        shards = open_store(settings)
    held = min(_VALID_SHARDS, len(shards) // 4)
    begin = (len(shards) - held) * settings["shard"]
    splits = [
        _features(shards[:-held], np.arange(begin)),
        _features(shards[-held:], np.arange(begin, settings["images"])),
    ]
    config = FitConfig(
        bottleneck=BottleneckConfig(parameterisation="residual"),
        training=TrainingConfig(epochs=1, batch_size=settings["batch"], window=settings["window"]),
    )
    concepts = np.random.default_rng(3).normal(size=(CONCEPTS, settings["width"]))
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    with timed(seconds, "mean and covariance"):
        embeddings = jax.numpy.asarray(concepts, jax.numpy.float32)
        phrases = tuple(map(str, range(CONCEPTS)))
        texts = Texts(phrases, splits[0].classes, embeddings, None, scale=100.0)
        stream = make_stream(config.bottleneck, texts, *splits)
    mesh = make_mesh()
    with timed(seconds, "one epoch"):
        structure, params = start_on(mesh, config.bottleneck, stream.inputs, CONCEPTS, CLASSES, 0)
        plan = make_plan(structure, config, begin)
        shardings = state_shardings(plan, params, mesh)
        stream = stream._replace(shared=replicate(stream.shared, mesh))
        progress = run(
            stream_feed(plan, stream, shardings, mesh),
            place_state(plan, params, shardings),
            mesh,
            steps=plan.total_steps,
        )
    kernel = np.asarray(progress.state.params["head.kernel"], np.float64)
    found = {
        "valid_loss": progress.best_loss,
        "head_norm": float(np.linalg.norm(kernel)),
        "steps": int(progress.state.step),
    }
    if several:
        finish()
    rows = int(progress.state.step) * settings["batch"] if process == 0 else 0
    return {"seconds": seconds, "rows": rows, "checksum": 0, "found": found}


def _features(shards: list[Any], ids: np.ndarray) -> Any:
    from jaxcbm.data.features import Features
    from jaxcbm.data.store.sharded_rows import ShardedRows

    return Features(
        ShardedRows(tuple(shards)),
        labels_of(ids),
        np.broadcast_to(np.zeros(32, np.uint8), (len(ids), 32)),
        tuple(f"class {i}" for i in range(CLASSES)),
    )


def main(stage: str, settings: str, process: str) -> None:
    """Work, watched; the last line on standard output is the result."""
    with Watch() as watch:
        result = {"write": write, "read": read, "train": train}[stage](
            json.loads(settings), int(process)
        )
    result |= {"peak_anonymous_mib": watch.anonymous, "peak_file_mib": watch.file}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
