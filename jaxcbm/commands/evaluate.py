"""`jaxcbm evaluate`: the test metrics of a finished run."""

import argparse
from typing import Any

from jaxcbm.commands.command import (
    add_cache,
    add_command,
    add_distributed,
    add_inference,
    add_workdir,
)


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "evaluate",
        run,
        "print the test metrics of a finished run and write them to metrics.json",
        "jaxcbm evaluate --workdir=runs/quickstart",
    )
    add_workdir(parser, "folder of a finished run")
    parser.add_argument(
        "--no-controls",
        action="store_true",
        help="leave out what takes another fit: accuracy with random phrases",
    )
    add_inference(parser, "as the run was trained", "64 a device")
    add_cache(parser)
    add_distributed(parser)


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Evaluate, and print the table of test metrics."""
    from jaxcbm.experiment import evaluate

    found = evaluate.run(
        args.workdir,
        controls=not args.no_controls,
        dtype=args.dtype,
        batch_size=args.batch_size,
    )
    print(evaluate.table(found))
