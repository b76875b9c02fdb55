"""Trains slowly enough to be killed, then writes the final parameters: `kill_worker.py WORKDIR`."""

import sys
import time
from pathlib import Path

import numpy as np
from problem import train

from jaxcbm.distributed import preemption
from jaxcbm.training.config import TrainingConfig


def main(workdir: Path) -> None:
    requested = preemption.requested

    def slow(step):
        time.sleep(0.05)
        return requested(step)

    preemption.requested = slow
    training = TrainingConfig(epochs=30, batch_size=32, checkpoint_every=1)
    params = train(training=training, workdir=workdir).state.params
    np.savez(workdir / "final.npz", **{path: np.asarray(value) for path, value in params.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
