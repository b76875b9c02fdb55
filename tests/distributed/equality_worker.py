"""One of several processes of a run: `equality_worker.py PORT PROCESS ENCODER FOLDER`.

Computes the problems on meshes over both processes and leaves the results of each process in
FOLDER/processPROCESS.npz.
"""

import os
import shutil
import sys
import traceback
from pathlib import Path

import jax
import numpy as np

from jaxcbm.distributed.mesh import local_mesh
from jaxcbm.distributed.processes import Cluster, barrier, finish, start


def main(port: str, process: str, encoder: str, folder: str) -> None:
    start(Cluster(f"localhost:{port}", 2, int(process)))
    assert jax.device_count() == 8 and jax.local_device_count() == 4
    import equality_problem as problem

    from jaxcbm.training.config import MeshConfig

    problem.configure()
    here, towers = Path(folder), Path(encoder)
    found: dict[str, dict[str, np.ndarray]] = {}

    def keep(name: str, values: dict[str, np.ndarray]) -> None:
        found[name] = values
        print(f"{process}: {name}", flush=True)

    data, model, both = MeshConfig(8, 1), MeshConfig(1, 8), MeshConfig(2, 4)
    even = {"count": problem.EVEN_CONCEPTS}
    keep("fit 8x1", problem.fitted(data, towers))
    for shape in (model, both):
        keep(f"even {shape.data}x{shape.model}", problem.fitted(shape, towers, **even))
    keep("paired 2x4", problem.fitted(both, towers, **even, **problem.PAIRED))
    keep("sparse 8x1", problem.sparse(data, towers))
    keep("sweep 8x1", problem.swept(data, towers))
    keep("path 8x1", problem.path(data))
    keep("search 8x1", problem.searched(data))
    keep("tune 4x2", problem.finetuned(MeshConfig(4, 2), towers, here / "tune"))

    with problem.stop_at(2):
        problem.fitted(both, towers, here / "stopped", **even)
    barrier("stopped")
    if process == "0":
        shutil.copytree(here / "stopped", here / "elsewhere")
    barrier("copied")
    keep("resumed even 2x4", problem.fitted(both, towers, here / "stopped", **even))
    with problem.stop_at(7):  # two epochs of the frozen part, and five steps
        problem.finetuned(MeshConfig(4, 2), towers, here / "tune stopped")
    keep("resumed tune 4x2", problem.finetuned(MeshConfig(4, 2), towers, here / "tune stopped"))
    # Shares of different sizes take different numbers of steps, and nobody waits.
    share = (0, 100) if process == "0" else (100, problem.IMAGES)
    own = problem.predicted(towers, local_mesh(), *share)
    np.savez(here / f"predicted{process}.npz", **own)
    np.savez(
        here / f"process{process}.npz",
        **{f"{name}|{key}": value for name, part in found.items() for key, value in part.items()},
    )
    finish()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # no waiting for the other process
