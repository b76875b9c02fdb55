"""Peak memory of one contender, alone in a process of its own.

python -m benchmarks.peak_memory MODULE ROW CONTENDER
"""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.interleave import Contender, Row


def peak_mib() -> float:
    """The most memory this process has ever held.

    Linux keeps it with the address space. `getrusage` would also count what the parent held when
    it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def measure_peak(module: str, row: Row, contender: Contender, *, quick: bool) -> float:
    """MiB that a contender takes, libraries included, building up and working twice."""
    command = [sys.executable, "-m", "benchmarks.peak_memory", module, row.name, contender.name]
    done = subprocess.run(
        command + ["--quick"] * quick, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """The child's side: build one contender, let it work, print what it took."""
    quick = "--quick" in sys.argv
    module, row_name, contender_name = (arg for arg in sys.argv[1:] if arg != "--quick")
    rows = {row.name: row for row in import_module(module).rows(quick)}
    contenders = {contender.name: contender for contender in rows[row_name].contenders}
    work = contenders[contender_name].build()
    work()
    work()
    print(round(peak_mib()))


if __name__ == "__main__":
    main()
