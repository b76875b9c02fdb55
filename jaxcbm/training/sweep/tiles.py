"""How much of a grid runs at once: tiles of seeds x settings that fit the memory of a device."""

import os
from typing import Literal, NamedTuple

import jax
from jax.sharding import Mesh, PartitionSpec

from jaxcbm.distributed.processes import exchange
from jaxcbm.errors import UserError
from jaxcbm.lines import gib


class Cost(NamedTuple):
    """Bytes on one device.

    Attributes:
        shared: features and labels, which every run reads.
        seed: a batch, its noise and the epoch's order, which all settings of a seed share.
        member: parameters, optimizer state, gradients and activations of one run.
    """

    shared: int
    seed: int
    member: int

    def of(self, seeds: int, settings: int) -> int:
        """What a tile takes."""
        return self.shared + seeds * (self.seed + settings * self.member)


class Tile(NamedTuple):
    """The runs of one call, over all devices.

    Attributes:
        seeds: seeds at once; divides by the devices where `axis` is `seeds`.
        settings: settings at once; divides by the devices where `axis` is `settings`.
        axis: which of the two lies across the devices.
    """

    seeds: int
    settings: int
    axis: Literal["seeds", "settings"]

    def spec(self, mesh: Mesh) -> PartitionSpec:
        """How an array [seeds, settings, ...] lies on the mesh: over all of its axes at once."""
        over = mesh.axis_names
        return PartitionSpec(over) if self.axis == "seeds" else PartitionSpec(None, over)


def choose_tile(seeds: int, settings: int, *, devices: int, cost: Cost, budget: int) -> Tile:
    """The largest tile within the budget, along the axis that leaves the fewest devices idle.

    Args:
        seeds: S >= 1.
        settings: H >= 1.
        devices: they divide one axis of the tile between them.
        cost: what runs take.
        budget: bytes on one device.

    Returns:
        Tiles of equal size cover the grid; the last one may stand over.

    Raises:
        UserError: not even one run fits.

    >>> choose_tile(3, 32, devices=8, cost=Cost(100, 0, 10), budget=10_000)
    Tile(seeds=3, settings=32, axis='settings')
    >>> choose_tile(3, 32, devices=1, cost=Cost(100, 0, 10), budget=400)
    Tile(seeds=1, settings=16, axis='seeds')
    """
    if cost.of(1, 1) > budget:
        raise UserError(
            f"one run takes about {gib(cost.of(1, 1))} and the budget is {gib(budget)}: raise the "
            "memory, or lower config.training.batch_size"
        )
    found = []
    for axis in ("seeds", "settings"):
        per_device = (_ceil(seeds, devices), settings)
        if axis == "settings":
            per_device = (seeds, _ceil(settings, devices))
        s, h = _shrink(*per_device, cost, budget)
        rounds = _ceil(per_device[0], s) * _ceil(per_device[1], h)
        scale = (devices, 1) if axis == "seeds" else (1, devices)
        found.append((rounds * s * h, Tile(s * scale[0], h * scale[1], axis)))
    return min(found, key=lambda pair: pair[0])[1]


def _shrink(seeds: int, settings: int, cost: Cost, budget: int) -> tuple[int, int]:
    """Fewer seeds before fewer settings, in equal parts: the settings of a seed share work."""
    free = budget - cost.shared
    whole_seeds = free // (cost.seed + settings * cost.member)
    if whole_seeds >= 1:
        return _even(seeds, whole_seeds), settings
    return 1, _even(settings, (free - cost.seed) // cost.member)


def _even(count: int, most: int) -> int:
    """The part size when `count` is cut into the fewest equal parts of at most `most`."""
    return _ceil(count, _ceil(count, min(most, count)))


def _ceil(count: int, size: int) -> int:
    return -(-count // size)


def default_budget(mesh: Mesh) -> int:
    """Bytes that a sweep may take on each device: most of what is free, as far as it can be known.

    A device that does not tell shares half of the host's memory with its neighbours. Several
    processes take what the one with least has, so that all choose the same tiles.
    """
    stats = mesh.local_devices[0].memory_stats() or {}
    if "bytes_limit" in stats:
        own = int(0.8 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    else:
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        own = host // 2 // jax.local_device_count()
    return min(map(int, exchange("memory of a sweep", str(own))))
