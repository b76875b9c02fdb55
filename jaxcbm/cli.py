"""The command line: parse and call."""

import argparse
import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcbm import __version__
from jaxcbm.atomic import explained
from jaxcbm.commands import (
    bench,
    cache,
    concepts,
    config,
    dials,
    edit,
    encode,
    evaluate,
    explain,
    explore,
    export,
    plan,
    predict,
    pretrain,
    push,
    report,
    reproduce,
    search,
    serve,
    sweep,
    train,
)
from jaxcbm.commands.command import Parser, add_quiet
from jaxcbm.errors import UserError
from jaxcbm.memory_limits import memory_ran_out, require_room
from jaxcbm.storage import CACHE_VARIABLE
from jaxcbm.training import trackers

# In the order in which --help lists them.
COMMANDS = (train, evaluate, predict, explain, explore, serve, edit, config, encode, search, sweep)
COMMANDS += (reproduce, dials, report)
COMMANDS += (concepts, pretrain, export, bench, plan)
COMMANDS += (push, cache)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command and its flags."""
    parser = Parser(
        prog="jaxcbm", description="Image classifiers that explain every decision by concepts."
    )
    parser.add_argument("--version", action="version", version=f"jaxcbm {__version__}")
    add_quiet(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _set_up_logging(quiet: bool) -> None:
    import logging as python_logging

    from absl import flags, logging

    # What transformers warns of is about models that we do not take from it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if quiet or not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # absl and the libraries on it warn about flags that nobody parsed; we parse our own.
    flags.FLAGS.mark_as_parsed()
    logging.use_absl_handler()
    logging.set_verbosity(logging.WARNING if quiet else logging.INFO)
    logging.set_stderrthreshold("info")
    handler = logging.get_absl_handler()
    handler.setFormatter(python_logging.Formatter("%(message)s"))
    ours = str(Path(__file__).parent)

    def concerns_users(record: python_logging.LogRecord) -> bool:
        """Libraries speak through the same logger; their chatter and their tracebacks are not."""
        if not (of_us := record.pathname.startswith(ours)):
            record.exc_info = None
        return of_us or record.levelno >= python_logging.WARNING

    handler.addFilter(concerns_users)


def _read_config(args: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    if args.config is None:
        return {}
    from jaxcbm.experiment.config_file import read_config

    return read_config(args.config, overrides)


def _compute(args: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Run a command that can be asked to stop, perhaps in several processes."""
    from jaxcbm.distributed import preemption
    from jaxcbm.distributed.processes import Cluster

    def work() -> None:
        config = _read_config(args, overrides)
        if args.distributed:
            joint_run.agree_on(vars(args), config)
        with preemption.listening():
            args.run(args, config)

    try:
        if args.distributed:
            from jaxcbm.commands import joint_run

            joint_run.run(Cluster(args.coordinator, args.processes, args.process), work)
        else:
            work()
    except preemption.Preempted as stop:
        print(f"jaxcbm: {stop}", file=sys.stderr)
        return preemption.EXIT_CODE
    return 0


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The flags of a command, and the overrides of its config."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    args.command = shlex.join(["jaxcbm", *(sys.argv[1:] if argv is None else argv)])
    if args.grid is not None:
        args.grid = [axis for axis in rest if axis.startswith("--grid.")]
        rest = args.overrides = [other for other in rest if other not in args.grid]
    if rest and args.config is None:
        parser.error(f"unknown argument {rest[0]}")
    if not args.distributed and (args.coordinator, args.processes, args.process) != (None,) * 3:
        parser.error("--coordinator, --processes and --process go with --distributed")
    return args, rest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on a mistake the user can mend, 143 when asked to stop."""
    try:
        args, rest = _parse(argv)
        _set_up_logging(args.quiet)
        if args.feature_cache is not None:
            os.environ[CACHE_VARIABLE] = args.feature_cache
        if args.track is not None:
            os.environ[trackers.VARIABLE] = args.track
            trackers.asked_for()  # a package that is missing shows before hours of encoding
        # All that compute on models; others may do with less.
        if args.computes or getattr(args, "workdir", None):
            require_room()
        if args.computes:
            return _compute(args, rest)
        args.run(args, _read_config(args, rest))
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            # Who reads our output, such as head, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        if (reason := _line(error)) is None:
            raise
        print(f"jaxcbm: error: {reason}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxcbm: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    return 0


def _line(error: Exception) -> str | None:
    """What to tell the user, in a line; None where it is a fault of the program."""
    if (reason := memory_ran_out(error)) is not None:
        return (
            f"not enough memory ({reason:.200}): take less at once, such as a smaller batch, or "
            "raise the limit; `jaxcbm plan` says what a config needs"
        )
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{str(error.filename)[:60]}...: a name too long for a file"
    told = explained(error, str(getattr(error, "filename", None) or "its files"))
    if told is not error:
        return str(told)
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EIO, errno.ESTALE):
        return f"{error.filename}: {error.strerror}: it was there, or is on a disk that fails"
    return None


if __name__ == "__main__":
    sys.exit(main())
