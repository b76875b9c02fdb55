"""Memory that the system does not give: told before native code ends the process, and after."""

import os
from pathlib import Path

from jaxcbm.errors import UserError
from jaxcbm.lines import first_line, gib

# What JAX and the libraries below it reserve before the first picture: pools of threads, each with
# a stack and an arena of the allocator. Measured with two cores; most of it is never touched.
_START_BYTES, _CORE_BYTES = 3 << 29, 1 << 28
# How Python, XLA and C++ say that there is no more.
_SAID = ("RESOURCE_EXHAUSTED", "can't start new thread", "std::bad_alloc", "Cannot allocate memory")


def require_room() -> None:
    """See that limits on this process let JAX start, which ends without a word where they do not.

    Raises:
        UserError: `ulimit -v` or `ulimit -d` leaves too little.
    """
    try:
        import resource

        status = Path("/proc/self/status").read_text()
    except (ImportError, OSError):  # another system; it says so in its own way
        return
    needed = _START_BYTES + _CORE_BYTES * (os.cpu_count() or 1)
    for limit, taken, flag in (
        (resource.RLIMIT_AS, "VmSize:", "-v"),
        (resource.RLIMIT_DATA, "VmData:", "-d"),
    ):
        most, _ = resource.getrlimit(limit)
        left = most - (int(status.partition(taken)[2].split()[0]) << 10)
        if most != resource.RLIM_INFINITY and left < needed:
            raise UserError(
                f"not enough memory: ulimit {flag} leaves {gib(max(left, 0))}, and JAX needs "
                f"{gib(needed)} to start here: raise the limit"
            )


def memory_ran_out(error: BaseException | None) -> str | None:
    """What says, of an error and what it came from, that memory ran out; None where nothing does.

    >>> try:
    ...     try:
    ...         raise MemoryError
    ...     except MemoryError as cause:
    ...         raise UserError("a.png: damaged") from cause
    ... except UserError as error:
    ...     memory_ran_out(error)
    'MemoryError'
    >>> memory_ran_out(UserError("a.png: damaged"))
    """
    while error is not None:
        # What a message for users quotes may come from anywhere.
        told = not isinstance(error, UserError) and any(text in str(error) for text in _SAID)
        if told or isinstance(error, MemoryError):
            return first_line(error)
        error = error.__cause__ or error.__context__
    return None
