"""The devices of a slice, real or not, for programs to be compiled for."""

import os
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import jax
from jax.experimental import topologies

from jaxcbm.errors import UserError
from jaxcbm.lines import first_line
from jaxcbm.planning.chips import GPUS, Slice, parse_slice

# Without these the library looks for the metadata server of a machine in the cloud, and lets one
# process at a time load it, as if each took the chips.
_NO_MACHINE = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


def devices_of(slice_: Slice) -> list[Any]:
    """Devices to compile for.

    Args:
        slice_: a TPU slice, which needs libtpu and no TPU; simulated CPU devices; or what is here.

    Raises:
        UserError: libtpu is missing, or jax started with fewer simulated devices.
    """
    kind = slice_.chip.device
    if kind == "local":
        return list(jax.devices())
    if kind == "cpu":
        return _simulated(slice_)
    if find_spec("libtpu") is None:
        raise UserError(
            f"compiling for {slice_.name} needs libtpu, no TPU: pip install 'jaxcbm[plan]' "
            "(or plan on simulated devices with --topology=cpu-8)"
        )
    for name, value in _NO_MACHINE.items():
        os.environ.setdefault(name, value)
    _settle("jax_platforms", "cpu")
    options: dict[str, Any] = dict(slice_.chip.options)
    if slice_.count == 1:
        options["chips_per_host_bounds"] = (1,) * (len(slice_.shape) + 1)
    try:
        return list(
            topologies.get_topology_desc(
                platform="tpu", topology_name=slice_.layout, **options
            ).devices
        )
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise UserError(f"libtpu cannot compile for {slice_.name}: {first_line(error)}") from error


def found_here(devices: list[Any]) -> Slice:
    """The devices of this machine as a slice, with what is known of their kind."""
    kind = devices[0].device_kind
    chip = next((chip for name, chip in GPUS.items() if name in kind), None)
    chip = (chip or parse_slice("local").chip)._replace(name=kind)
    memory = float((devices[0].memory_stats() or {}).get("bytes_limit", 0))
    return Slice("local", chip._replace(usable=memory), len(devices))


def _simulated(slice_: Slice) -> list[Any]:
    _settle("jax_platforms", "cpu")
    _settle("jax_num_cpu_devices", slice_.count)
    devices = jax.devices("cpu")
    if len(devices) < slice_.count:
        raise UserError(
            f"topology {slice_.name}: jax has started with {len(devices)} simulated devices; "
            f"set JAX_NUM_CPU_DEVICES={slice_.count} before it starts"
        )
    return devices[: slice_.count]


def _settle(name: str, value: Any) -> None:
    """Set an option of jax, unless jax has started already: then it is what it is."""
    with suppress(RuntimeError):
        jax.config.update(name, value)
