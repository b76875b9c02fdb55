"""Trains slowly enough to be killed: `kill_finetune_worker.py ENCODER_FOLDER WORKDIR`."""

import sys
import time
from pathlib import Path

import numpy as np
from finetune_problem import make_recipe, make_splits

from jaxcbm.encoders.finetune.lora import LoraConfig
from jaxcbm.training.finetune import feed
from jaxcbm.training.finetune.fit import begin, run_finetune


def main(encoder_folder: Path, workdir: Path) -> None:
    batches = feed.pixel_batches

    def slow(pictures, rows):
        for batch in batches(pictures, rows):
            time.sleep(0.1)
            yield batch

    feed.pixel_batches = slow
    lora = LoraConfig(rank=2, dropout=0.2)
    recipe = make_recipe(encoder_folder, lora=lora, epochs=6, checkpoint_every=1, flip=True)
    begun = begin(*make_splits(recipe.encoder), recipe)
    state = run_finetune(begun, workdir).state
    np.savez(workdir / "final.npz", **{k: np.asarray(v) for k, v in state.params.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
