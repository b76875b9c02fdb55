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
    parser.set_defaults(function=function, config=None, grid=None)
    return parser


def add_config(parser: Any, **options: Any) -> None:
    """The flag that names an experiment."""
    parser.add_argument("--config", metavar="FILE", help=_CONFIG_HELP, **options)


def add_workdir(parser: argparse.ArgumentParser, help: str) -> None:
    """The flag that names the folder of a run."""
    parser.add_argument("--workdir", required=True, type=Path, help=help)
