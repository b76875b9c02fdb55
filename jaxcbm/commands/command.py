"""What the parsers of all commands share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CONFIG_HELP = "a Python file with get_config(); see configs/. Override with --config.a.b=VALUE"


def add_command(
    commands: Any, name: str, function: Callable | None, help: str, example: str
) -> argparse.ArgumentParser:
    """A parser for `jaxcbm name`, which calls `function(args, config)`."""
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(function=function, config=None, grid=None, computes=False)
    parser.set_defaults(distributed=False, coordinator=None, processes=None, process=None)
    return parser


def add_config(parser: Any, **options: Any) -> None:
    """The flag that names an experiment."""
    parser.add_argument("--config", metavar="FILE", help=_CONFIG_HELP, **options)


def add_workdir(parser: argparse.ArgumentParser, help: str) -> None:
    """The flag that names the folder of a run."""
    parser.add_argument("--workdir", required=True, type=_local_folder, help=help)


def add_distributed(parser: argparse.ArgumentParser) -> None:
    """The flags that make several processes one run, for a command that can be asked to stop."""
    parser.set_defaults(computes=True)
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="this is one process of a run on several hosts: start the same command on each, with "
        "folders that all share. Cloud TPU, GKE, SLURM and Open MPI say the rest; elsewhere give:",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    group.add_argument("--processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process", type=int, metavar="I", help="which one this is, from 0")


def _local_folder(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(
            f"{text} is no folder of a file system (a feature store may lie there: "
            "--config.features, or --output of `jaxcbm encode`)"
        )
    return Path(text)
