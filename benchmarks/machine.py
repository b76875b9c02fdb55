"""What the numbers were measured on, and an equal share of it for every contender."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jaxcbm.code_version import this_code
from jaxcbm.machine_load import Load, load_average, watch_load

PACKAGES = ("jaxcbm", "jax", "jaxlib", "flax", "optax", "numpy", "torch", "transformers")
# Flags that decide how fast narrow products are.
NOTABLE_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
# The load average a core up to which a machine counts as idle. Other work slows torch, whose
# threads wait for each other, far more than jax, and flatters ratios by up to ten times.
IDLE = 0.3
# Seconds within which the load that a row leaves behind falls below that.
PATIENCE = 180.0


def use_threads(count: int, *, cuda: bool = False) -> None:
    """Confine this process and its children to `count` cores; call before jax and torch start.

    Both libraries size their pools by the cores they may use; jax shows them as one device. With
    `cuda` both work on the first GPU, and leave each other room on it.
    """
    os.environ["JAX_PLATFORMS"] = "cuda,cpu" if cuda else "cpu"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ["JAX_NUM_CPU_DEVICES"] = "1"
    os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ["NPROC"] = str(count)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def on_gpu() -> bool:
    """Whether contenders work on a GPU."""
    return os.environ.get("JAX_PLATFORMS", "").startswith("cuda")


def start_torch() -> None:
    """Give torch the cores, or the GPU, that jax has.

    `torch.as_tensor` and what is made from nothing then lie on that GPU.
    """
    import torch

    torch.set_num_threads(threads())
    if on_gpu():
        torch.set_default_device("cuda")


@contextmanager
def exact_products() -> Iterator[None]:
    """On a GPU: float32 products as they are within, and with operands in TF32 after, in both.

    TF32 is what jax takes there unless told otherwise.
    """
    if not on_gpu():
        yield
        return
    import jax
    import torch

    torch.set_float32_matmul_precision("highest")
    with jax.default_matmul_precision("highest"):
        yield
    torch.set_float32_matmul_precision("high")


@contextmanager
def idle_machine(row: str, *, force: bool = False, patience: float = PATIENCE) -> Iterator[Load]:
    """The load before a row is measured and while it is.

    Waits for the load average of the row before to fall.

    Args:
        row: what is measured, for the message.
        force: measure on a busy machine too; pages mark such a row.
        patience: seconds to wait.

    Raises:
        SystemExit: the machine stays busy.
    """
    limit, end = IDLE * (os.cpu_count() or 1), time.monotonic() + patience
    # A system that keeps no average (NaN) refuses nothing.
    while (busy := load_average() > limit and not force) and time.monotonic() < end:
        time.sleep(min(5.0, patience))
    if busy:
        sys.exit(
            f"{row}: not measured: the load average is {load_average():.1f} before it began, more "
            f"than {limit:.1f} ({IDLE} a core): wait, or give --force and have the row marked"
        )
    with watch_load() as load:
        yield load


def was_busy(load: dict[str, Any]) -> bool:
    """Whether the machine had other work before a row began, from the row's result."""
    return (load["before"] or 0.0) > IDLE * load["cores"]


def threads() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return int(os.environ.get("NPROC", os.cpu_count() or 1))


def cpu_flags() -> tuple[str, ...]:
    """The processor's flags, as Linux lists them; none elsewhere."""
    return tuple(_cpu_field("flags").split())


def has_matrix_units() -> bool:
    """Whether the processor multiplies bfloat16 matrices in units made for it."""
    return "amx_bf16" in cpu_flags()


def has_bfloat16() -> bool:
    """Whether bfloat16 is multiplied at all, if only in the processor's vector units."""
    return on_gpu() or has_matrix_units() or "avx512_bf16" in cpu_flags()


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system and versions."""
    flags = cpu_flags()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "gpu": _gpu(),
        "flags": [flag for flag in NOTABLE_FLAGS if flag in flags],
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "code": asdict(this_code()),
    }


def _gpu() -> str | None:
    if not on_gpu():
        return None
    import jax

    return jax.devices()[0].device_kind


def _cpu() -> str:
    """What it is called, and its family and model: a cloud's names leave the generation out."""
    name = _cpu_field("model name") or platform.processor() or platform.machine()
    numbers = {field: _cpu_field(field) for field in ("cpu family", "model")}
    known = [
        f"{field.removeprefix('cpu ')} {number}" for field, number in numbers.items() if number
    ]
    return ", ".join([name, *known])


def _cpu_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in values if key.strip() == name), "")


def _memory_gib() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
