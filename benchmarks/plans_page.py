"""Results of plans to Markdown."""

from collections.abc import Mapping
from typing import Any

from benchmarks.report import table
from jaxcbm.lines import gib
from jaxcbm.planning.render import duration, price, scaled

HEADER = """# What a job takes on a TPU slice, before paying for one

Written by `python -m benchmarks.plans` (`pip install "jaxcbm[plan]"`, no TPU); do not edit by hand.

`jaxcbm plan` compiles the very programs that `jaxcbm encode` and `jaxcbm train` run, for a slice
that is not there, and counts what came out:

    jaxcbm plan --config=imagenet --topology=v5e-16 --stage=encode \\
        --config.encoder.name=openai/clip-vit-large-patch14 --config.encoder.dtype=bfloat16

- **Topologies**: `v5e-N` and `v6e-N` count chips. `v4-N` and `v5p-N` count TensorCores as the
  vendor names them, two a chip: v5p-64 is 32 chips. `cpu-N` compiles for simulated devices, `local`
  for the devices of this machine.
- **Memory** is the compiler's: arguments, outputs, temporaries and the program on each chip. To it
  is added what the command keeps beside the program, such as the best parameters so far. A
  program that the compiler refuses is reported with what it asked for; what would fit is found by
  compiling it, and the exit code is 0: a plan that says no has succeeded.
- **Work** is counted from the compiled text. Matrix products count two operations a multiplication
  and loops as often as they run; a float32 product of full precision is six passes of the matrix
  units. Memory traffic is operands and results of every instruction that lie in HBM.
- **Time** is a roofline of the vendor's peak figures: compute, memory and links, each as if it
  were the only limit. The shorter figure assumes that all three overlap, the longer that none do.
  Real steps are slower than the first and may be slower than the second: this is a model of a
  data sheet, not a measurement. Decoding images on the hosts, storage, start-up and compilation
  are not included. When encoding, hosts that cannot decode as fast as the chips compute are the
  limit.
- **Prices** are rough on-demand prices per chip and hour in US regions. They are an input: check
  them against your contract and give yours with `--price`. Chips, shapes, speeds and their
  sources are in `jaxcbm/planning/chips.py`.
- **Largest batch**: sizes of a power of two on each chip, found by compiling those that are named.

The data is ImageNet (1,281,167 train and 50,000 test images, 2 % of train held out), the encoder
CLIP ViT-L/14 in bfloat16 (E = 768), the classes 1,000, unless a heading says something else.
"""
PARTS = {
    "encode": "Encoding",
    "train": "Training the bottleneck",
    "finetune": "End-to-end training",
}
SCALING = """## Scaling by counted work

Strong: the same batch over more chips. Weak: the same images on each chip. Encoding is CLIP
ViT-B/32, training a factored bottleneck of 4,751 concepts on its features. Counts are of one chip
and one step, from programs compiled for v5e slices; the ratio is to an even share of the work on 8
chips. `rest` is what chips send beside the all-reduce that holds the gradients."""


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page.

    >>> render({}).splitlines()[0]
    '# What a job takes on a TPU slice, before paying for one'
    """
    parts = [HEADER]
    for part, title in PARTS.items():
        plans = {name: plan for name, plan in results.items() if plan["part"] == part}
        if plans:
            parts += [f"## {title}", "", _summary(plans), ""]
            parts += [_detail(name, plan) for name, plan in plans.items()]
    scaling = {name: plan for name, plan in results.items() if plan["part"] == "scaling"}
    if scaling:
        parts += [SCALING, ""]
        for start in ("encode-strong", "encode-weak", "train-strong", "train-weak"):
            plans = [p for name, p in scaling.items() if name.startswith(f"scaling-{start}")]
            if plans:
                stage, kind = start.split("-")
                parts += [f"### {stage}, {kind}", "", _scaling(plans), ""]
    versions = next((plan["versions"] for plan in results.values()), {})
    said = ", ".join(f"{name} {number}" for name, number in versions.items())
    return "\n".join([*parts, f"Compiled with {said}." if said else ""]).rstrip() + "\n"


def _summary(plans: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, plan in plans.items():
        seconds, dollars = plan["seconds"], plan["dollars_per_million_images"]
        steps = plan["images"] / plan["batch_size"]
        lines.append(
            [
                name,
                f"{plan['chips']} {plan['chip']}, {plan['data']} x {plan['model']}",
                f"{plan['batch_size']:,}",
                f"{gib(plan['needed_bytes'])} of {gib(plan['usable_bytes'])}",
                "yes" if plan["fits"] else "**no**",
                _between(seconds, 1.0),
                _between(seconds, steps),
                f"{price(dollars[0])} to {price(dollars[1])}" if dollars else "",
            ]
        )
    header = ["plan", "chips, data x model", "batch", "memory of a chip", "fits"]
    return table([*header, "step", "whole stage", "a million images"], lines)


def _between(seconds: Mapping[str, Any] | None, factor: float) -> str:
    if seconds is None:
        return ""
    return f"{duration(seconds['overlapped'] * factor)} to {duration(seconds['serial'] * factor)}"


def _detail(name: str, plan: Mapping[str, Any]) -> str:
    flags = " ".join(plan["flags"])
    return f"### {name}\n\n`jaxcbm plan {flags}`\n\n```text\n{plan['text']}\n```\n"


def _scaling(plans: list[Mapping[str, Any]]) -> str:
    first = plans[0]
    share = first["work"]["flops"] * first["chips"] / first["batch_size"]
    lines = []
    for plan in sorted(plans, key=lambda plan: plan["chips"]):
        work, chips, batch = plan["work"], plan["chips"], plan["batch_size"]
        largest = max(
            (c for c in work["collectives"] if c["kind"] == "all-reduce"),
            key=lambda c: c["bytes"],
            default={"bytes": 0.0, "sent": 0.0},
        )
        lines.append(
            [
                f"{chips}",
                f"{batch:,}",
                scaled(work["flops"], "FLOP"),
                f"{work['flops'] / (share * batch / chips):.4f}",
                scaled(sum(c["bytes"] for c in work["collectives"]), "B"),
                scaled(work["link_bytes_sent"], "B"),
                scaled(work["link_bytes_sent"] - largest["sent"], "B"),
            ]
        )
    header = ["chips", "batch", "products", "of an even share", "payload", "sent", "rest"]
    return table(header, lines)
