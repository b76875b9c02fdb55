"""`jaxcbm dials`: every method on birds that are made harder, one cause at a time."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config, add_rows, add_workdir


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "dials",
        run,
        "run every method on the quick start's birds, made harder by one dial at a time, and draw "
        "what that does to them; resumes where it stopped",
        "jaxcbm dials --workdir=runs/dials",
    )
    add_config(parser, default="quickstart")
    add_workdir(parser, "folder for what it writes (default: runs/dials)", required=False)
    parser.add_argument(
        "--dial",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one: annotation_noise, missing_concepts, shortcut, nuisances or atypical; "
        "repeatable",
    )
    add_rows(parser, seeds=1)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Turn the dials, and write the page."""
    from jaxcbm.distributed.processes import is_main
    from jaxcbm.evaluation.results.file import read_result
    from jaxcbm.experiment import dials
    from jaxcbm.report.dials_page import write_page

    workdir = args.workdir or Path("runs", "dials")
    files = dials.run(
        config,
        workdir,
        dials=args.dial,
        seeds=args.seeds,
        methods=args.method,
        command=args.command,
    )
    if not is_main():
        return
    for written in write_page([read_result(file) for file in files], workdir):
        print(f"written: {written}")
