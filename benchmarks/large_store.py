"""A feature store of ten million embeddings: written by two processes, read and trained on.

python -m benchmarks.large_store --folder=SCRATCH                # 10 GB of disk, minutes
python -m benchmarks.large_store --folder=SCRATCH --quick --page=/tmp/scale.md --result=/tmp/r.json
python -m benchmarks.large_store --render                        # only the page, from the result
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.large_store_page import render
from benchmarks.machine import describe, idle_machine
from jaxcbm.atomic import atomic_file, write_json

FULL = {"images": 10_000_000, "width": 512, "shard": 8192, "batch": 8192, "window": 131_072}
QUICK = {"images": 20_000, "width": 32, "shard": 512, "batch": 256, "window": 2048}
# What a process may hold beyond code and file pages, whatever the size of the store.
LIMIT_MIB = {"write": 512, "read": 1024, "train": 1536}
STAGES = (("write", 2), ("read", 1), ("read", 2), ("train", 1), ("train", 2))


def main() -> None:
    """Run all stages, check them against each other, and write result and page."""
    args = _arguments()
    if not args.render:
        with idle_machine("large_store", force=args.force or args.quick) as load:
            result = measure(args.folder, QUICK if args.quick else FULL, quick=args.quick)
        write_json(args.result, {**result, "load": asdict(load)})
    result = json.loads(args.result.read_text(encoding="utf-8"))
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(result), encoding="utf-8")


def measure(folder: Path, sizes: dict[str, int], *, quick: bool) -> dict[str, Any]:
    """All stages on a store that exists only meanwhile.

    Raises:
        SystemExit: too little disk.
        AssertionError: a row is missing, doubled or changed, or a process took too much memory.
    """
    store = folder / "large_store"
    store.mkdir(parents=True)
    needed = sizes["images"] * sizes["width"] * 2
    if shutil.disk_usage(store).free < 1.2 * needed:
        sys.exit(f"{folder}: {needed / 1e9:.1f} GB are needed; choose another --folder")
    stages = []
    try:
        for stage, processes in STAGES:
            print(stage, "by", processes, "...", flush=True)
            stages.append(run_stage(store, stage, processes, sizes))
            print(f"  {stages[-1]['seconds']:.1f} s", flush=True)
    finally:
        shutil.rmtree(store)
    checked = check(stages, quick)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": quick,
        "machine": describe(),
        "sizes": sizes,
        "bytes": needed,
        "limit_mib": LIMIT_MIB,
        "stages": stages,
        **checked,
    }


def run_stage(store: Path, stage: str, processes: int, sizes: dict[str, int]) -> dict[str, Any]:
    """One stage in fresh processes; its seconds are those of the slowest."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    settings = json.dumps({**sizes, "store": str(store), "port": port, "processes": processes})
    command = [sys.executable, "-m", "benchmarks.large_store_worker", stage, settings]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    workers = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True, env=environment)
        for i in range(processes)
    ]
    said = [worker.communicate()[0] for worker in workers]
    if any(worker.returncode for worker in workers):
        raise RuntimeError(f"a process of the stage {stage} failed")
    parts = [json.loads(text.splitlines()[-1]) for text in said]
    seconds = {name: max(part["seconds"][name] for part in parts) for name in parts[0]["seconds"]}
    return {
        "stage": stage,
        "processes": processes,
        "seconds": sum(seconds.values()),
        "parts_seconds": seconds,
        "peak_anonymous_mib": max(part["peak_anonymous_mib"] for part in parts),
        "peak_file_mib": max(part["peak_file_mib"] for part in parts),
        "rows": sum(part["rows"] for part in parts),
        "checksum": sum(part["checksum"] for part in parts) % 2**64,
        "found": parts[0]["found"],
    }


def check(stages: list[dict[str, Any]], quick: bool) -> dict[str, Any]:
    """Every row once with the content it was written with; equal losses; bounded memory."""
    written, read_one, read_two, one, two = stages
    for read in (read_one, read_two):
        assert read["rows"] == written["rows"], "rows are missing or doubled"
        assert read["checksum"] == written["checksum"], "rows are not what was written"
    losses = [stage["found"]["valid_loss"] for stage in (one, two)]
    difference = abs(losses[0] - losses[1])
    assert difference < 1e-5, f"one and two processes train differently: {losses}"
    for stage in stages if not quick else []:
        limit = LIMIT_MIB[stage["stage"]]
        assert stage["peak_anonymous_mib"] < limit, f"{stage['stage']} took more than {limit} MiB"
    return {"loss_difference": difference}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the store lies meanwhile")
    parser.add_argument("--result", type=Path, default=Path("docs/results/scale/large_store.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/scale.md"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, for tests")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--render", action="store_true", help="only the page")
    args = parser.parse_args()
    if args.folder is None and not args.render:
        parser.error("give --folder, or --render")
    return args


if __name__ == "__main__":
    main()
