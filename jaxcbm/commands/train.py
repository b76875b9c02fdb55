"""`jaxcbm train`: fit, evaluate, draw."""

import argparse
from typing import Any

from jaxcbm.commands.command import (
    QUICK,
    add_cache,
    add_command,
    add_config,
    add_distributed,
    add_track,
    add_workdir,
)


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "train",
        run,
        "fit a concept bottleneck, evaluate it on test, and draw it; resumes where it was stopped",
        f"jaxcbm train {QUICK} --config.training.epochs=30",
    )
    add_config(parser, required=True)
    add_workdir(parser, "folder for everything it writes")
    add_cache(parser)
    add_track(parser)
    add_distributed(parser)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Train, and print the main test metrics."""
    from jaxcbm.experiment import train
    from jaxcbm.report.run_summary import run_summary

    print(run_summary(train.run(config, args.workdir)))
    print(f"written to {args.workdir}: model/, metrics.json, metrics.jsonl, plots/")
    again = f"`jaxcbm evaluate --workdir={args.workdir}` prints them"
    print(f"every metric: {args.workdir}/metrics.json; {again}")
