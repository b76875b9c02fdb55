"""One of two processes of a streamed fit: `streamed_worker.py PORT PROCESS FOLDER`."""

import sys
from pathlib import Path

import jax
import numpy as np

from jaxcbm.distributed.placement import fetch
from jaxcbm.distributed.processes import Cluster, finish, start


def main(port: str, process: str, folder: str) -> None:
    start(Cluster(f"localhost:{port}", 2, int(process)))
    assert jax.device_count() == 8
    import streamed_problem as problem

    from jaxcbm.training import feeds

    batches, read = feeds.feature_batches, []

    def counted(*args, **options):
        for batch in batches(*args, **options):
            read.append(len(batch.embeddings))
            yield batch

    feeds.feature_batches = counted
    _, progress = problem.stream(devices=8)
    params = fetch(progress.state.params)
    np.savez(Path(folder) / f"process{process}.npz", **params, rows_read=sum(read))
    finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
