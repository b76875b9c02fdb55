"""`jaxcbm sweep`: a grid of settings, trained at once."""

import argparse
import shlex
from typing import Any

from jaxcbm.commands.command import (
    QUICK,
    add_cache,
    add_command,
    add_config,
    add_distributed,
    add_track,
    add_workdir,
    amount,
)


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "sweep",
        run,
        "train a grid of settings at once and rank them on validation; resumes where it stopped",
        f"jaxcbm sweep {QUICK} \\\n"
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
        "training, or is concepts, concept_count or encoder.name. Once an axis; the grid is all "
        "combinations, and seeds are averaged over",
    )
    parser.add_argument(
        "--memory",
        type=amount,
        metavar="GIB",
        help="what the runs of one moment may take on each device (default: most of it)",
    )
    parser.set_defaults(grid=[])
    add_cache(parser)
    add_track(parser)
    add_distributed(parser)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Sweep, write the pages, and print the ranking and how to train the best."""
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
