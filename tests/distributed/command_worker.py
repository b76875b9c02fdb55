"""One process of a run: `jaxcbm` with short patience and small shards, slowed without work.

Run as `command_worker.py SETTINGS ARGUMENT...`; SETTINGS is JSON.
"""

import functools
import json
import sys
import time
from typing import Any

from jaxcbm import cli
from jaxcbm.data.store import encoding, feature_store
from jaxcbm.distributed import preemption, processes
from jaxcbm.errors import UserError
from jaxcbm.experiment import prepare as experiment


def slowed(function: Any, seconds: float) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return function(*args, **options)

    return wrapper


if __name__ == "__main__":
    settings = {"start": 30, "heartbeat": 10, "shard": 0.0, "step": 0.0, **json.loads(sys.argv[1])}
    processes._START_SECONDS = settings["start"]
    processes._HEARTBEAT_SECONDS = settings["heartbeat"]
    encoding.write_shard = slowed(encoding.write_shard, settings["shard"])
    preemption.requested = slowed(preemption.requested, settings["step"])
    if "train" in sys.argv[2:3]:
        # Pictures for people cost as much as all the rest, and have tests of their own.
        from jaxcbm.experiment import train

        train.draw = train.draw_explanation = lambda *args: None
    if "failing" in settings:
        load = experiment.load_dataset

        def load_or_fail(data: Any) -> Any:
            if processes.process_index() == settings["failing"]:
                raise UserError("no such folder here: pictures")
            return load(data)

        experiment.load_dataset = load_or_fail
    experiment.encode = functools.partial(feature_store.encode, shard_size=4)
    sys.exit(cli.main(sys.argv[2:]))
