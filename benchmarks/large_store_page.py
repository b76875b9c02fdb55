"""The result of `benchmarks.large_store` to docs/scale.md, and what follows from it on paper."""

from collections.abc import Mapping
from typing import Any

from benchmarks.report import circumstances, table

_BILLION = 1_000_000_000
_BANDWIDTHS = (0.5, 2.0, 10.0)
_HOSTS = (1, 16, 64)

HEADER = """# Feature stores larger than memory

Written by `python -m benchmarks.large_store`; do not edit by hand.

A fit with `config.training.data=stream` (or `auto`, where the features do not fit) leaves the
embeddings in the store and reads them batch by batch. What it computes is the fit in memory, step
for step: the tests hold the two against each other, one device against eight, and a stopped run
against an undisturbed one, bit for bit. Its order of rows is its own:

- The store is cut into chunks of 256 neighbours (fewer where it is small). An epoch lays them end
  to end in random order and cuts the sequence into up to 64 streams. A batch interleaves them: it
  takes a few rows of each, out of a shuffle buffer of `config.training.window` images in all.
- So each read is one chunk long, a batch mixes 64 distant places, and a process reads only its own
  rows of every batch. The order follows from seed, epoch, batch size and window alone, not from
  files, devices or processes.
- Memory holds two windows, for a moment three, divided between the processes: the next one is read
  while the last one is used. Embeddings travel to the device as they are stored and become
  float32 there.
- Mean and covariance of the embeddings, from which the standardisation of all scores follows, take
  one pass in the order of the store, shared between the processes: products in float32 within a
  block of 8,192 rows, blocks added up in float64.
- The sparse head is solved on `config.sparse_head.images` images drawn by the seed; the log and the
  model's metrics (`sparse_head_images`) say on how many.

## Measured
"""


def render(result: Mapping[str, Any]) -> str:
    """The whole page."""
    sizes, machine = result["sizes"], result["machine"]
    smoke = "**A smoke test with tiny sizes: the numbers mean nothing.** " * result["quick"]
    where = (
        f"{smoke}{result['date']}, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB. {sizes['images']:,} embeddings of {sizes['width']} bfloat16 "
        f"numbers, {result['bytes'] / 1e9:.1f} GB in {_shards(result):,} shards of "
        f"{sizes['shard']:,}; windows of {sizes['window']:,} rows."
    )
    where += circumstances(result)
    parts = [HEADER, where, "", _measured(result), "", *_notes(result), "", *_paper(result)]
    return "\n".join(parts).rstrip() + "\n"


def _measured(result: Mapping[str, Any]) -> str:
    lines = []
    for stage in result["stages"]:
        for name, seconds in stage["parts_seconds"].items():
            first = name == next(iter(stage["parts_seconds"]))
            by = f"{stage['stage']}, {stage['processes']} process" + "es" * (stage["processes"] > 1)
            lines.append(
                [
                    by if first else "",
                    name,
                    f"{seconds:.1f}",
                    f"{result['bytes'] / 1e6 / max(seconds, 1e-3):,.0f}",
                    f"{result['sizes']['images'] / max(seconds, 1e-3):,.0f}",
                    f"{stage['peak_anonymous_mib']:,.0f}" if first else "",
                ]
            )
    header = ["stage", "part", "seconds", "MB / s", "images / s", "peak memory a process, MiB"]
    return table(header, lines)


def _notes(result: Mapping[str, Any]) -> list[str]:
    limits = ", ".join(f"{name} {mib:,} MiB" for name, mib in result["limit_mib"].items())
    window = result["sizes"]["window"] * result["sizes"]["width"] * 2 / 2**20
    return [
        "- Both processes share the machine's cores and its disk; seconds are wall time beside "
        "whatever else the machine did, and those of the slowest process. What was just written "
        "may still lie in the system's file cache, so that reading is not the disk's speed alone.",
        "- Peak memory is anonymous memory (`RssAnon`), libraries and JAX included, looked at "
        f"twenty times a second; bounds that the run is checked against: {limits}. A window is "
        f"{window:.0f} MiB. Files are read, not mapped: no page of the store counts as memory.",
        "- `open and verify` reads every byte and compares its SHA-256, here in every process.",
        "- `read` is an epoch in training's order. Every row came exactly once, and a checksum "
        "over the content of each row together with its number is what the writers computed: "
        f"{result['stages'][0]['checksum']:016x}.",
        "- `train`: 64 concepts, 100 classes, residual layer, contrastive objective, batches of "
        f"{result['sizes']['batch']:,}, validation on the last shards included. Validation loss of "
        f"one and of two processes differs by {result['loss_difference']:.1e}.",
    ]


def _paper(result: Mapping[str, Any]) -> list[str]:
    sizes, stages = result["sizes"], result["stages"]
    size = _BILLION * sizes["width"] * 2
    shards = -(-_BILLION // sizes["shard"])
    chunk = stages[1]["found"]["chunk"]
    index = stages[1]["found"]["index_bytes_a_shard"] * shards
    flops = 2 * _BILLION * sizes["width"] ** 2
    lines = [
        [f"{gigabytes:g} GB/s"] + [f"{size / hosts / gigabytes / 1e9:,.0f} s" for hosts in _HOSTS]
        for gigabytes in _BANDWIDTHS
    ]
    return [
        "## A billion embeddings, on paper",
        "",
        f"Nobody has run this. {_BILLION:,} rows of {sizes['width']} bfloat16 numbers are "
        f"{size / 1e12:.2f} TB in {shards:,} shards of {sizes['shard']:,} rows "
        f"({sizes['shard'] * sizes['width'] * 2 / 1e6:.1f} MB each). What grows with the store, in "
        "every process:",
        "",
        table(
            ["what", "bytes a row or shard", "in all"],
            [
                ["index of the shards", f"{index / shards:,.0f} a shard", _size(index)],
                ["order of an epoch", f"16 a chunk of {chunk} rows", _size(16 * _BILLION / chunk)],
                ["labels, int32", "4 a row (may be a memory map)", _size(4 * _BILLION)],
                ["digests", "32 a row (may be a memory map)", _size(32 * _BILLION)],
                ["positions of a split", "8 a row, where a split is a selection", _size(8e9)],
            ],
        ),
        "",
        "Windows, batches and the statistics' E x E sums do not grow. `jaxcbm.encode` itself keeps "
        "labels and digests as arrays in memory: at this size they are its limit, not the "
        "embeddings. Seconds to read the store once, by what each host reads a second:",
        "",
        table(
            ["each host reads", *(f"{hosts} host" + "s" * (hosts > 1) for hosts in _HOSTS)], lines
        ),
        "",
        f"Mean and covariance cost {flops:.1e} FLOPs, once. Verifying every byte at opening is "
        "another pass over the whole store, at the rate measured here "
        f"{_verify_seconds(result, size) / 3600:.1f} hours of one process. `jaxcbm.encode` shares "
        "it: each process verifies the shards that are its own to make, and on a shared file "
        "system takes the word of the others for theirs. In the table above each verified all.",
    ]


def _verify_seconds(result: Mapping[str, Any], size: float) -> float:
    return result["stages"][1]["parts_seconds"]["open and verify"] * size / result["bytes"]


def _shards(result: Mapping[str, Any]) -> int:
    return -(-result["sizes"]["images"] // result["sizes"]["shard"])


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
