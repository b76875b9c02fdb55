"""What the chips are and which slices of them there are: the only table of such facts.

Specifications are the vendor's public ones:

- v4: https://docs.cloud.google.com/tpu/docs/v4, bandwidth of its links from Jouppi et al., TPU v4:
  An Optically Reconfigurable Supercomputer, 2023, arXiv 2304.01433 (6 links of 50 GB/s);
- v5e: https://docs.cloud.google.com/tpu/docs/v5e;
- v5p: https://docs.cloud.google.com/tpu/docs/v5p;
- v6e: https://docs.cloud.google.com/tpu/docs/v6e.

Prices are rough on-demand prices of US regions, see https://cloud.google.com/tpu/pricing;
nothing keeps them up to date: check your contract and give `--price`.
"""

import re
from typing import NamedTuple

from jaxcbm.errors import UserError

GIB = 2**30


class Chip(NamedTuple):
    """One kind of chip; a device of jax is one chip.

    Attributes:
        name: as in the names of slices.
        device: libtpu's name of the generation, or jax's platform.
        cores: TensorCores a chip, which slices of v4 and v5p are counted in.
        usable: bytes of memory that the compiler leaves to a program, by the messages of libtpu
            0.0.42; 0 where unknown.
        flops: peak bfloat16 operations a second; 0 where unknown.
        bandwidth: bytes a second between memory and chip.
        links: bytes a second that a chip sends to all its neighbours together: half of the
            bidirectional figure of the vendor.
        dollars: list price an hour; 0 where there is none.
        options: further arguments for libtpu.
    """

    name: str
    device: str
    cores: int
    usable: float
    flops: float
    bandwidth: float
    links: float
    dollars: float
    options: tuple[tuple[str, str], ...] = ()


TPUS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        # One device a chip: both cores work as one, as on a real machine.
        Chip(
            *("v4", "v4", 2, 30.75 * GIB, 275e12, 1200e9, 300e9, 3.22),
            options=(("chip_config_name", "megacore"),),
        ),
        Chip("v5e", "v5e", 1, 15.75 * GIB, 197e12, 819e9, 200e9, 1.20),
        Chip("v5p", "v5p", 2, 95 * GIB, 459e12, 2765e9, 600e9, 4.20),
        Chip("v6e", "v6e", 1, 31.25 * GIB, 918e12, 1638e9, 400e9, 2.70),
    )
}

_UNKNOWN = Chip("cpu", "cpu", 1, 0, 0, 0, 0, 0)

# GPUs that --topology=local may find, by a part of the name that jax gives them; bfloat16 without
# sparsity, links one way. From the vendor's data sheets: https://www.nvidia.com/en-us/data-center/
GPUS: dict[str, Chip] = {
    "A100": Chip("A100", "local", 1, 0, 312e12, 2039e9, 300e9, 0),
    "H100": Chip("H100", "local", 1, 0, 989e12, 3350e9, 450e9, 0),
    "H200": Chip("H200", "local", 1, 0, 989e12, 4800e9, 450e9, 0),
}

# Chips -> shape, as the vendor cuts slices; a shape of 1 x 1 has no neighbours.
_FLAT = {
    1: (1, 1),
    4: (2, 2),
    8: (2, 4),
    16: (4, 4),
    32: (4, 8),
    64: (8, 8),
    128: (8, 16),
    256: (16, 16),
}
_CUBES = {
    4: (2, 2, 1),
    8: (2, 2, 2),
    16: (2, 2, 4),
    32: (2, 4, 4),
    64: (4, 4, 4),
    128: (4, 4, 8),
    256: (4, 8, 8),
    512: (8, 8, 8),
    1024: (8, 8, 16),
}
SHAPES: dict[str, dict[int, tuple[int, ...]]] = {
    "v4": _CUBES,
    "v5e": _FLAT,
    "v5p": _CUBES,
    "v6e": _FLAT,
}


class Slice(NamedTuple):
    """Chips that work together.

    Attributes:
        name: what the user asked for.
        chip: their kind.
        count: how many.
        shape: how they lie; empty for what is no torus.
    """

    name: str
    chip: Chip
    count: int
    shape: tuple[int, ...] = ()

    @property
    def said(self) -> str:
        """The slice in words.

        >>> parse_slice("v5p-64").said
        'v5p-64: 32 v5p chips (64 TensorCores) in 2x4x4'
        """
        chip = self.chip
        cores = f" ({self.count * chip.cores} TensorCores)" if chip.cores > 1 else ""
        shape = f" in {'x'.join(map(str, self.shape))}" if self.shape else ""
        return f"{self.name}: {self.count} {chip.name} chips{cores}{shape}"

    @property
    def layout(self) -> str:
        """libtpu's name of the topology, such as `v5e:4x4`."""
        return f"{self.chip.device}:{'x'.join(map(str, self.shape))}"


def parse_slice(name: str) -> Slice:
    """A slice by its name.

    Args:
        name: `v5e-16` and `v6e-16` count chips; `v4-16` and `v5p-64`, as the vendor names them,
            count TensorCores, two a chip; `cpu-8` simulated devices; `local` what this machine has.

    Raises:
        UserError: no such slice; names those there are.

    >>> parse_slice("v5e-16").layout, parse_slice("cpu-8").count
    ('v5e:4x4', 8)
    """
    if name == "local":
        return Slice(name, _UNKNOWN._replace(name="local", device="local"), 0)
    found = re.fullmatch(r"(v\d\w?|cpu)-(\d+)", name)
    if found is None or found[1] not in {*TPUS, "cpu"}:
        raise UserError(
            f"unknown topology {name!r}: give v4-N, v5e-N, v5p-N or v6e-N, cpu-N for simulated "
            "devices, or local for the devices of this machine"
        )
    kind, number = found[1], int(found[2])
    if kind == "cpu":
        if number < 1:
            raise UserError(f"topology {name}: at least one device")
        return Slice(name, _UNKNOWN, number)
    chip = TPUS[kind]
    count, rest = divmod(number, chip.cores)
    if rest or count not in SHAPES[kind]:
        known = ", ".join(f"{kind}-{chips * chip.cores}" for chips in SHAPES[kind])
        counted = "TensorCores" if chip.cores > 1 else "chips"
        raise UserError(f"no slice {name} ({kind} counts {counted}): there are {known}")
    return Slice(name, chip, count, SHAPES[kind][count])
