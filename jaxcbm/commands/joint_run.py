"""One command in several processes, from the first meeting to the end."""

import json
import logging as python_logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import jax
from absl import logging

from jaxcbm.distributed import departure, processes
from jaxcbm.distributed.preemption import Preempted
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line

# What may differ between the processes of one command.
_OWN = ("process", "coordinator", "command", "run", "quiet")


def run(cluster: processes.Cluster, work: Callable[[], None]) -> None:
    """Join the run, work, and leave it together with all others.

    Process 0 speaks for all: the others say only what is wrong, with their number before it.
    Where one fails, all end, with its reason and exit code.

    Args:
        cluster: who takes part.
        work: the same on all.

    Raises:
        UserError: no cluster is found.
        Preempted: all have stopped at the same place.
    """
    processes.start(cluster)
    departure.watch()
    if not processes.is_main():
        _speak_softly()
    try:
        work()
    except Preempted:
        processes.finish()
        raise
    except UserError as error:
        print(f"jaxcbm: error: {error}", file=sys.stderr)
        departure.fail(str(error), 2)
    except KeyboardInterrupt:
        departure.fail("interrupted; the same command continues where it stopped", 130)
    except Exception as error:
        departure.fail(_summary(error), 1, traceback.format_exc())
    processes.finish()


def agree_on(args: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """See that all processes run the same command, with the same settings, of the same software.

    Raises:
        UserError: on every process, where something differs.
    """
    shared = {name: value for name, value in args.items() if name not in _OWN}
    processes.agree("jaxcbm's version", version("jaxcbm"))
    processes.agree("JAX's version", f"{jax.__version__} {version('jaxlib')}")
    processes.agree("their command line", json.dumps(shared, sort_keys=True, default=str))
    processes.agree("their config", json.dumps(config, sort_keys=True, default=str))


def _speak_softly() -> None:
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    logging.set_verbosity(logging.WARNING)
    prefix = f"process {processes.process_index()}: "
    logging.get_absl_handler().setFormatter(python_logging.Formatter(f"{prefix}%(message)s"))


def _summary(error: Exception) -> str:
    said = f"{type(error).__name__}: {first_line(error)}"
    return said
