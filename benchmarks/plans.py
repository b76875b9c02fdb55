"""Plan the stages of ImageNet on slices of TPUs, and write docs/plan.md.

python -m benchmarks.plans                       # all of it, an hour or two on two cores
python -m benchmarks.plans --only encode-v5e-16  # one plan; the others keep their last result
python -m benchmarks.plans --render              # only the page, from the results in the folder

It needs `pip install "jaxcbm[plan]"` and no TPU. Each plan is one call of `jaxcbm plan`.
"""

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.plans_page import render
from jaxcbm.atomic import atomic_file, write_json

_LARGE = (
    "--config.encoder.name=openai/clip-vit-large-patch14",
    "--config.encoder.dtype=bfloat16",
)
_BASE = (
    "--config.encoder.name=openai/clip-vit-base-patch32",
    "--config.encoder.dtype=bfloat16",
)
_RESIDUAL = "--config.bottleneck.parameterisation=residual"
# Chips of the table of scaling.
_CHIPS = (8, 32, 256)


class Asked(NamedTuple):
    """One plan: a part of the page, its file, and the flags of `jaxcbm plan`."""

    part: str
    name: str
    flags: tuple[str, ...]


def _train(name: str, concepts: int, topology: str, *flags: str) -> Asked:
    flags = (f"--topology={topology}", "--stage=train", f"--concept-count={concepts}", *flags)
    return Asked("train", name, (*flags, "--batch-size=4096", *_LARGE))


def _tune(name: str, topology: str, batch: int, mode: str, *flags: str) -> Asked:
    flags = (f"--topology={topology}", "--stage=finetune", f"--batch-size={batch}", *flags)
    flags = (*flags, f"--config.encoder.train={mode}", "--concept-count=4751", *_LARGE)
    return Asked("finetune", name, flags)


PLANS = (
    Asked("encode", "encode-v5e-16", ("--topology=v5e-16", "--stage=encode", *_LARGE)),
    Asked(
        "encode",
        "encode-v5e-256",
        ("--topology=v5e-256", "--stage=encode", "--search=0", *_LARGE),
    ),
    _train("train-4751", 4751, "v5e-16"),
    _train("train-4751-residual", 4751, "v5e-16", _RESIDUAL, "--search=1"),
    _train("train-65536", 65536, "v5e-16", "--config.mesh.model=4", "--search=1"),
    _train("train-65536-residual-whole", 65536, "v5e-16", _RESIDUAL, "--search=3"),
    _train(
        "train-65536-residual", 65536, "v5e-16", _RESIDUAL, "--config.mesh.model=16", "--search=1"
    ),
    _tune("tune-lora-v5p-64", "v5p-64", 1024, "lora", "--search=1"),
    _tune("tune-full-v5p-64", "v5p-64", 1024, "full", "--search=0"),
    _tune("tune-full-v5e-16", "v5e-16", 1024, "full", "--search=2"),
)
SCALING = (
    *(
        Asked(
            "scaling",
            f"scaling-encode-{kind}-{chips:03}",
            (
                f"--topology=v5e-{chips}",
                "--stage=encode",
                "--search=0",
                f"--batch-size={2048 if kind == 'strong' else 64 * chips}",
                *_BASE,
            ),
        )
        for kind in ("strong", "weak")
        for chips in _CHIPS
    ),
    *(
        Asked(
            "scaling",
            f"scaling-train-{kind}-{chips:03}",
            (
                f"--topology=v5e-{chips}",
                "--stage=train",
                "--search=0",
                "--concept-count=4751",
                f"--batch-size={4096 if kind == 'strong' else 256 * chips}",
                *_BASE,
            ),
        )
        for kind in ("strong", "weak")
        for chips in _CHIPS
    ),
)


def main() -> None:
    """Plan, write a JSON file each, then the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of plans, or their beginnings")
    parser.add_argument("--missing", action="store_true", help="only those without a result")
    parser.add_argument("--folder", type=Path, default=Path("docs/results/plan"))
    parser.add_argument("--page", type=Path, default=Path("docs/plan.md"))
    parser.add_argument("--render", action="store_true", help="plan nothing")
    args = parser.parse_args()
    asked = () if args.render else (*PLANS, *SCALING)
    for each in asked:
        file = args.folder / f"{each.name}.json"
        if args.only and not any(each.name.startswith(start) for start in args.only):
            continue
        if not (args.missing and file.exists()):
            _plan(each, file)
    results = {
        path.stem: json.loads(path.read_text("utf-8"))
        for path in sorted(args.folder.glob("*.json"))
    }
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(results), encoding="utf-8")


def _plan(asked: Asked, file: Path) -> None:
    """One plan in a process of its own: jax settles its devices once."""
    print(asked.name, "...", flush=True)
    flags = ("--config=imagenet", *asked.flags)
    command = [sys.executable, "-m", "jaxcbm", "--quiet", "plan", *flags, f"--output={file}"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{asked.name}: {done.stderr.strip().splitlines()[-1]}")
    result = json.loads(file.read_text("utf-8"))
    versions = {name: version(name) for name in ("jax", "libtpu", "flax")}
    said = {"name": asked.name, "part": asked.part, "flags": flags, "versions": versions}
    write_json(file, {**said, **result, "text": done.stdout.strip()})


if __name__ == "__main__":
    main()
