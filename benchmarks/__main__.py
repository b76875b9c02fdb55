"""Measure the speed rows one after the other and write docs/benchmarks.md.

python -m benchmarks                        # all of it, about an hour on two cores
python -m benchmarks --only encoding        # one row; the others keep their last result
python -m benchmarks --force                # on a busy machine too; such rows are marked
python -m benchmarks --quick --folder=/tmp/smoke --page=/tmp/smoke/benchmarks.md
python -m benchmarks --cuda --threads=16 --folder=docs/results/speed_gpu --page=docs/gpu.md
python -m benchmarks --render               # only the page, from the results in the folder
"""

import argparse
import gc
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.interleave import Row, measure
from benchmarks.machine import describe, idle_machine, on_gpu, use_threads
from benchmarks.peak_memory import measure_peak
from benchmarks.report import render
from jaxcbm.atomic import atomic_file, write_json

MODULES = (
    "benchmarks.training",
    "benchmarks.sweep",
    "benchmarks.search",
    "benchmarks.sparse_path",
    "benchmarks.encoding",
    "benchmarks.encoding_families",
    "benchmarks.decoding",
    "benchmarks.inference",
    "benchmarks.inference_files",
    "benchmarks.ten_epochs",
)
WITHOUT_TORCH = ("benchmarks.decoding", "benchmarks.inference")
# The rows whose contenders can be moved to a GPU.
ON_A_GPU = ("benchmarks.training", "benchmarks.sweep", "benchmarks.search", "benchmarks.encoding")


def main() -> None:
    """Measure, and write a JSON file a row and the page.

    Raises:
        SystemExit: a row needs torch, or the machine is busy; rows before that one are kept.
    """
    args = _arguments()
    if not args.render:
        use_threads(args.threads, cuda=args.cuda)
        for module in ON_A_GPU if args.cuda else MODULES:
            for row in import_module(module).rows(args.quick):
                if args.only and row.name not in args.only:
                    continue
                if find_spec("torch") is None and module not in WITHOUT_TORCH:
                    sys.exit(f'{row.name} needs torch: pip install "jaxcbm[benchmark]"')
                with idle_machine(row.name, force=args.force or args.quick) as load:
                    result = run(module, row, rounds=args.rounds, quick=args.quick)
                write_json(args.folder / f"{row.name}.json", {**result, "load": asdict(load)})
                write_page(args)
    write_page(args)


def write_page(args: argparse.Namespace) -> None:
    """The page, from all results of the folder."""
    results = [json.loads(path.read_text("utf-8")) for path in sorted(args.folder.glob("*.json"))]
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(results), encoding="utf-8")


def run(module: str, row: Row, *, rounds: int, quick: bool) -> dict[str, Any]:
    """One row: ratios in this process, then peak memory in one process for each contender."""
    print(row.name, "...", flush=True)
    result = measure(row, rounds)
    gc.collect()
    for contender, shown in zip(row.contenders, result["contenders"], strict=True):
        # Of a GPU's memory this says nothing.
        alone = not on_gpu()
        shown["peak_mib"] = measure_peak(module, row, contender, quick=quick) if alone else None
    for ratio in result["ratios"]:
        print(f"  {ratio['name']}: {ratio['median']:.2f} (target {ratio['target']})", flush=True)
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"date": date, "quick": quick, "machine": describe(), **result}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--only", nargs="+", default=[], help="names of rows")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2, help="cores for every contender")
    parser.add_argument("--cuda", action="store_true", help="jax and torch on the first GPU")
    parser.add_argument("--folder", type=Path, default=Path("docs/results/speed"))
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--render", action="store_true", help="measure nothing")
    args = parser.parse_args()
    if args.quick:
        args.rounds = min(args.rounds, 2)
    return args


if __name__ == "__main__":
    main()
