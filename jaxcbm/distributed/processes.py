"""Several processes as one run: start together, wait for each other, agree.

All of it goes through the coordination service that `jax.distributed` starts in process 0. No
device takes part, so that waiting neither needs nor disturbs a running computation.
"""

import hashlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeVar

import jax

# The coordination service has no public interface; this is the one module that reaches for it.
from jax._src import distributed as _jax_distributed

from jaxcbm.distributed import last_words
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line

# How long the first process waits for the last one.
_START_SECONDS = 300
# After so long without a sign of life a process counts as dead, and ends the others.
_HEARTBEAT_SECONDS = 30
_LEAVE_SECONDS = 60
# A process that dies ends every wait; one that lives may have hours of work before it comes.
_BARRIER_MILLISECONDS = 7 * 24 * 3600 * 1000

_rounds: Counter[str] = Counter()
Result = TypeVar("Result")


class Cluster(NamedTuple):
    """Which processes make up a run; None is left for JAX to find out.

    JAX knows Cloud TPU, GKE, SLURM and Open MPI.

    Attributes:
        coordinator: HOST:PORT on which process 0 listens.
        processes: how many there are.
        process: which one this is, from 0.
    """

    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


def start(cluster: Cluster) -> None:
    """Join the run; call it before anything asks for devices.

    A process that dies afterwards ends the others within half a minute, with one line and exit
    code 134 or 1.

    Raises:
        UserError: no cluster is found, the numbers make no sense, or the address cannot be used.
    """
    _check(cluster)
    # JAX itself would end the process with a stack trace.
    late = threading.Timer(_START_SECONDS, _give_up)
    late.daemon = True
    late.start()
    last_words.listen()
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.processes,
            cluster.process,
            initialization_timeout=_START_SECONDS + 60,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=_LEAVE_SECONDS,
        )
    except ValueError as error:
        raise UserError(
            f"--distributed found no cluster ({error}): JAX knows Cloud TPU, GKE, SLURM and Open "
            "MPI; elsewhere give --coordinator=HOST:PORT --processes=N --process=I"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"--distributed: the processes cannot be joined: {first_line(error)}"
        ) from error
    finally:
        late.cancel()


def finish() -> None:
    """Wait for all others and leave the run with them; a no-op in a single process."""
    if is_distributed():
        barrier("end")
        jax.distributed.shutdown()
        last_words.stop()


def leave_now(code: int) -> NoReturn:
    """End without waiting for anybody: no exit handlers, which wait for all processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_distributed() -> bool:
    """Whether this process has joined a run, perhaps as its only member."""
    return jax.distributed.is_initialized()


def process_index() -> int:
    """Which process this is; 0 in a single one. Asks no device."""
    return _jax_distributed.global_state.process_id if is_distributed() else 0


def process_count() -> int:
    """How many processes there are. Asks no device."""
    return (_jax_distributed.global_state.num_processes or 1) if is_distributed() else 1


def is_main() -> bool:
    """Whether this is process 0, which speaks and writes for all.

    >>> is_main()
    True
    """
    return process_index() == 0


def barrier(name: str) -> None:
    """Wait until every process has come here; a no-op in a single process.

    Args:
        name: the same on all; it may come again, in the same order everywhere.
    """
    if process_count() > 1:
        _wait(_round(name))


def exchange(name: str, value: str) -> list[str]:
    """Tell all processes a short string, and hear theirs, in the order of the processes.

    Args:
        name: as for `barrier`.
        value: kilobytes at most.

    >>> exchange("greeting", "hello")
    ['hello']
    """
    if process_count() == 1:
        return [value]
    place = _round(name)
    client().key_value_set(f"{place}/{process_index():08d}", value)
    _wait(place)
    return [said for _, said in sorted(client().key_value_dir_get(f"{place}/"))]


def decide(name: str, answer: bool) -> bool:
    """What process 0 answers, on all: for what may look different to each, such as a folder."""
    return exchange(f"decide/{name}", str(int(answer)))[0] == "1"


def main_alone(name: str, work: Callable[[], Result]) -> Result | None:
    """Let process 0 do something for all, while the others wait; its error is everybody's.

    Args:
        name: as for `barrier`.
        work: what it does.

    Returns:
        What `work` returned on process 0, None on the others.

    Raises:
        UserError: on every process, where it was raised on process 0.

    >>> main_alone("sum", lambda: 1 + 1)
    2
    """
    done, failed = None, None
    if is_main():
        try:
            done = work()
        except UserError as error:
            failed = error
    said = exchange(f"alone/{name}", "" if failed is None else f"{failed}")[0]
    if failed is not None:
        raise failed
    if said:
        raise UserError(said)
    return done


def agree(name: str, value: str) -> None:
    """See that a string is the same in all processes; compares hashes.

    Args:
        name: what the string is, for the message.
        value: of any length.

    Raises:
        UserError: on every process, where they differ.
    """
    hashes = exchange(f"agree/{name}", hashlib.sha256(value.encode()).hexdigest())
    if len(set(hashes)) == 1:
        return
    most = Counter(hashes).most_common(1)[0][0]
    others = [str(index) for index, own in enumerate(hashes) if own != most]
    plural = "es" if len(others) > 1 else ""
    raise UserError(
        f"the processes of this run differ in {name} (process{plural} {', '.join(others)} of "
        f"{len(hashes)}): start all of them alike"
    )


def publish(name: str, value: str) -> None:
    """Leave a short string where the others can see it, in place of an earlier one; no waiting."""
    if process_count() > 1:
        key = f"jaxcbm/published/{name}/{process_index():08d}"
        client().key_value_set(key, value, allow_overwrite=True)


def published(name: str) -> list[str]:
    """What the processes have published, of those that have."""
    return [said for _, said in client().key_value_dir_get(f"jaxcbm/published/{name}/")]


def client() -> Any:
    """The coordination service, as this process sees it."""
    found = _jax_distributed.global_state.client
    if found is None:
        raise RuntimeError("this process has joined no run: call start() first")
    return found


def lookup(key: str) -> str | None:
    """What some process has said under this key, or None; returns at once."""
    try:
        return client().key_value_try_get(key)
    except jax.errors.JaxRuntimeError as error:
        if "NOT_FOUND" in str(error):
            return None
        raise


def _round(name: str) -> str:
    """A name for this time: the service takes each only once."""
    _rounds[name] += 1
    return f"jaxcbm/{name}/{_rounds[name]}"


def _wait(place: str) -> None:
    client().wait_at_barrier(place, _BARRIER_MILLISECONDS)


def _check(cluster: Cluster) -> None:
    host, _, port = (cluster.coordinator or "host:1").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"--coordinator={cluster.coordinator}: write HOST:PORT")
    if cluster.processes is not None and cluster.processes < 1:
        raise UserError(f"--processes={cluster.processes}: at least 1")
    if cluster.process is not None and cluster.process < 0:
        raise UserError(f"--process={cluster.process}: they count from 0")
    last = cluster.process if cluster.processes is None else cluster.processes - 1
    if (cluster.process or 0) > (last or 0):
        raise UserError(
            f"--process={cluster.process} of --processes={cluster.processes}: they count from 0"
        )


def _give_up() -> None:
    print(
        f"jaxcbm: error: --distributed: not all processes came within {_START_SECONDS} s: see that "
        "each is started, with the same --coordinator, and can reach it",
        file=sys.stderr,
    )
    leave_now(2)
