"""The commands that compare many models. Their imports happen when they run."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config, add_distributed, add_workdir

_QUICK = "--config=configs/quickstart.py --workdir=runs/quickstart"
# What `reproduce --dataset` knows: name -> file in configs/.
DATASETS = {
    "birds": "quickstart",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet": "imagenet",
    "cub": "cub",
    "places365": "places365",
}


def _dataset_config(name: str) -> str:
    if name not in DATASETS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DATASETS)}")
    return f"configs/{DATASETS[name]}.py"


def _reproduce(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import report
    from jaxcbm.distributed.processes import is_main
    from jaxcbm.experiment import reproduce

    file = reproduce.run(
        config,
        args.workdir,
        seeds=args.seeds,
        protocol=args.protocol,
        methods=args.method,
        command=args.command,
    )
    if not is_main():
        return
    results = sorted(args.workdir.glob("results-*.json"))
    for written in (file, *report.run(results, args.workdir / "report")):
        print(f"written: {written}")


def _report(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import report

    for file in report.run(args.results, args.output):
        print(f"written: {file}")


def _sweep(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.distributed.processes import is_main
    from jaxcbm.experiment import sweep
    from jaxcbm.report.sweep_pages import overrides, table, write_results

    swept = sweep.run(config, args.workdir, args.grid, args.memory)
    if is_main():
        write_results(args.workdir, *swept)
    print(table(swept.ranked))
    print(f"written to {args.workdir}: sweep.md, sweep.csv, sweep.json, plots/sweep.png")
    words = [f"--config={args.config}", "--workdir=BEST", *args.overrides]
    words += overrides(swept.ranked[0])
    print(" \\\n    ".join(["jaxcbm train", *map(shlex.quote, words)]))


def _search(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.experiment import search

    print(search.table(search.run(config, args.template, args.output)))


def add_reproduce(commands: Any) -> None:
    """`jaxcbm reproduce`: the whole table on one dataset."""
    parser = add_command(
        commands,
        "reproduce",
        _reproduce,
        "run the whole table of methods on one dataset, and report it; resumes where it stopped",
        "jaxcbm reproduce --dataset=birds --workdir=runs/birds",
    )
    data = parser.add_mutually_exclusive_group(required=True)
    add_config(data)
    data.add_argument(
        "--dataset",
        dest="config",
        type=_dataset_config,
        metavar="NAME",
        help=f"short for the shipped config of {', '.join(DATASETS)}",
    )
    add_workdir(parser, "folder for what it writes")
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    parser.add_argument(
        "--protocol",
        choices=("official", "pooled", "released"),
        default="official",
        help="pooled: all images re-split at random as the paper's code does, which tests on train "
        "images; for study (`released` is an older name, and the one in result files)",
    )
    parser.add_argument(
        "--method", action="append", default=[], metavar="NAME", help="only this row; repeatable"
    )
    add_distributed(parser)


def add_report(commands: Any) -> None:
    """`jaxcbm report`: pages from result files."""
    parser = add_command(
        commands,
        "report",
        _report,
        "make tables and figures of result files: report.md, report.csv and report.html",
        "jaxcbm report --results docs/results/methods/*.json --output=runs/report",
    )
    parser.add_argument(
        "--results",
        required=True,
        nargs="+",
        action="extend",
        type=Path,
        metavar="FILE.json",
        help="what `jaxcbm reproduce` wrote, one or more, of any datasets and protocols",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder of the report")


def add_sweep(commands: Any) -> None:
    """`jaxcbm sweep`: a grid of settings."""
    parser = add_command(
        commands,
        "sweep",
        _sweep,
        "train a grid of settings at once and rank them on validation; resumes where it stopped",
        f"jaxcbm sweep {_QUICK} \\\n"
        "    --grid.bottleneck.objective=gumbel,contrastive,l1,sigmoid \\\n"
        "    --grid.training.cbl.learning_rate=1e-4,1e-3,1e-2 --grid.training.seed=0,1,2",
    )
    add_config(parser, required=True)
    add_workdir(parser, "folder for what it writes")
    parser.add_argument(
        "--grid.FIELD",
        dest="none",
        metavar="V1,V2,...",
        help="values of one axis; FIELD is named as in --config.FIELD=V, under bottleneck or "
        "training. Once an axis; the grid is all combinations, and seeds are averaged over",
    )
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="what the runs of one moment may take on each device (default: most of it)",
    )
    parser.set_defaults(grid=[])
    add_distributed(parser)


def add_search(commands: Any) -> None:
    """`jaxcbm search`: classification without training."""
    parser = add_command(
        commands,
        "search",
        _search,
        "classify without training: Concept Matrix Search in every form, and zero-shot",
        "jaxcbm search --config=configs/quickstart.py --template='{}' --template='a drawing of {}'",
    )
    add_config(parser, required=True)
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help="a sentence with {} for the class name; several make an ensemble (default: "
        "'{}', 'a photo of a {}', 'a picture of a {}')",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="a .json file for the table")
    add_distributed(parser)
