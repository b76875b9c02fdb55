"""What the flags of all commands share: a parser, the flags that several have, and types."""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jaxcbm.errors import UserError

QUICK = "--config=quickstart --workdir=runs/quickstart"
_CONFIG_HELP = (
    "a config by name (`jaxcbm config` lists them), or a Python file with get_config(). Override "
    "with --config.a.b=VALUE"
)


class Parser(argparse.ArgumentParser):
    """A parser whose user's mistakes are one line."""

    def error(self, message: str) -> NoReturn:
        """Say it as any other mistake is said."""
        raise UserError(f"{message} (see {self.prog} --help)")


def add_command(
    commands: Any, name: str, run: Callable | None, help: str, example: str
) -> argparse.ArgumentParser:
    """A parser for `jaxcbm name`, which calls `run(args, config)`."""
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_quiet(parser, default=argparse.SUPPRESS)
    parser.set_defaults(
        run=run, config=None, grid=None, computes=False, feature_cache=None, track=None
    )
    parser.set_defaults(distributed=False, coordinator=None, processes=None, process=None)
    return parser


def add_quiet(parser: argparse.ArgumentParser, **options: Any) -> None:
    """The flag that leaves progress out; it stands before or after the command."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print results only", **options)


def add_config(parser: Any, **options: Any) -> None:
    """The flag that names an experiment."""
    parser.add_argument("--config", metavar="NAME", help=_CONFIG_HELP, **options)


def add_workdir(
    parser: argparse.ArgumentParser, help: str, *, required: bool = True, **options: Any
) -> None:
    """The flag that names the folder of a run."""
    parser.add_argument("--workdir", required=required, type=_local_folder, help=help, **options)


def add_inference(parser: argparse.ArgumentParser, dtype: str, batch_size: str) -> None:
    """The flags of a command that sends pictures through the encoder; what their defaults are."""
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help=f"type of the operands of the encoder's matrix products (default: {dtype})",
    )
    parser.add_argument(
        "--batch-size",
        type=count(1),
        metavar="N",
        help=f"pictures a step, over all devices (default: {batch_size})",
    )


def add_model(parser: argparse.ArgumentParser, more: str = "", **options: Any) -> None:
    """The flag that names a model to be read: of a run, in a folder, or on the hub."""
    help = f"a finished run, a model, or hf-hub:OWNER/NAME of the Hugging Face hub{more}"
    parser.add_argument("--workdir", required=True, type=_model, help=help, **options)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """The flag that says where encoded images are kept."""
    parser.add_argument(
        "--cache",
        dest="feature_cache",
        metavar="DIR",
        help="where all runs keep encoded images (default: JAXCBM_CACHE, or ~/.cache/jaxcbm); "
        "--cache= keeps them in the work directory",
    )


def add_track(parser: argparse.ArgumentParser) -> None:
    """The flag that sends metrics elsewhere too."""
    parser.add_argument(
        "--track",
        metavar="NAME",
        help="follow the metrics in tensorboard (WORKDIR/tensorboard) or wandb, or both with a "
        "comma between (pip install 'jaxcbm[tensorboard]', 'jaxcbm[wandb]')",
    )


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
    group.add_argument("--processes", type=count(1), metavar="N", help="how many there are")
    group.add_argument("--process", type=count(0), metavar="I", help="which one this is, from 0")


def add_rows(parser: argparse.ArgumentParser, *, seeds: int) -> None:
    """The flags of a command that runs rows of the table of methods: seeds, rows and processes."""
    parser.add_argument(
        "--seeds", type=count(1), default=seeds, help=f"how many (default: {seeds})"
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME",
        help="only this row, by its name in the table, such as 'Label-free CBM'; repeatable",
    )
    add_cache(parser)
    add_distributed(parser)


def count(least: int) -> Callable[[str], int]:
    """The type of a flag that counts something.

    >>> count(1)("3")
    3
    >>> count(1)("-1")
    Traceback (most recent call last):
    ...
    argparse.ArgumentTypeError: '-1' is no whole number of at least 1
    """

    def read(text: str) -> int:
        if not text.strip().removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return read


def number(text: str, least: float = -math.inf) -> float:
    """The type of a flag that measures something: a number, and not nan."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        bound = f" of at least {least:g}" if math.isfinite(least) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no number{bound}")
    return value


def amount(text: str) -> float:
    """The type of a flag that measures something which is never negative."""
    return number(text, 0.0)


def output_file(*suffixes: str) -> Callable[[str], Path]:
    """The type of a flag that names a file to write.

    It is looked at before anything is computed: its extension, and whether it can be written. A
    folder that is not there is made when the file is written.
    """

    def read(text: str) -> Path:
        path = Path(text)
        if path.suffix not in suffixes:
            known = " or ".join(filter(None, (", ".join(suffixes[:-1]), suffixes[-1])))
            raise argparse.ArgumentTypeError(f"{text}: the extension must be {known}")
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a folder: name a file in it")
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise argparse.ArgumentTypeError(f"{text}: nothing can be written in {nearest}")
        return path

    return read


def _model(text: str) -> Path:
    if not text.startswith("hf-hub:"):
        return _local_folder(text)
    from jaxcbm.hub import parse_hub_name

    if parse_hub_name(text) is None:
        raise argparse.ArgumentTypeError(f"{text}: give hf-hub:OWNER/NAME, perhaps with @REVISION")
    return Path(text)


def _local_folder(text: str) -> Path:
    if text.startswith("hf-hub:"):
        raise argparse.ArgumentTypeError(f"{text} is a model on the hub: name a folder of a run")
    if "://" in text:
        raise argparse.ArgumentTypeError(
            f"{text} is no folder of a file system (a feature store may lie there: "
            "--config.features, or --output of `jaxcbm encode`)"
        )
    return Path(text)
