"""`jaxcbm reproduce`: the whole table of methods on one dataset."""

import argparse
import time
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config, add_rows, add_workdir

# What `--dataset` knows: name -> config.
DATASETS = {
    "birds": "quickstart",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet": "imagenet",
    "cub": "cub",
    "places365": "places365",
}


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "reproduce",
        run,
        "run the whole table of methods on one dataset, and report it; resumes where it stopped",
        "jaxcbm reproduce --dataset=birds",
    )
    data = parser.add_mutually_exclusive_group(required=True)
    add_config(data)
    data.add_argument(
        "--dataset",
        dest="config",
        type=_config_of,
        metavar="NAME",
        help=f"short for the config of {', '.join(DATASETS)}",
    )
    add_workdir(
        parser, "folder for what it writes (default: runs/reproduce/CONFIG)", required=False
    )
    parser.add_argument(
        "--protocol",
        choices=("official", "pooled", "released"),
        default="official",
        help="pooled: all images re-split at random as the paper's code does, which tests on train "
        "images; for study (`released` is an older name, and the one in result files)",
    )
    add_rows(parser, seeds=5)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Run the table, write its result file and pages, and say how long all of it took."""
    from jaxcbm.commands.report import write_report
    from jaxcbm.distributed.processes import is_main
    from jaxcbm.experiment import reproduce
    from jaxcbm.report.facts import duration

    start = time.perf_counter()
    workdir = args.workdir or Path("runs", "reproduce", Path(args.config).stem)
    file = reproduce.run(
        config,
        workdir,
        seeds=args.seeds,
        protocol=args.protocol,
        methods=args.method,
        command=args.command,
    )
    if not is_main():
        return
    results = sorted(workdir.glob("results-*.json"))
    for written in (file, *write_report(results, workdir / "report")):
        print(f"written: {written}")
    print(f"wall time: {duration(time.perf_counter() - start)}, with encoding and evaluation")


def _config_of(dataset: str) -> str:
    if dataset not in DATASETS:
        raise argparse.ArgumentTypeError(f"{dataset!r} is none of {', '.join(DATASETS)}")
    return DATASETS[dataset]
