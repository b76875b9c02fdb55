"""The command that asks what a job takes on machines that are not here."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config


def _plan(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import plan

    print(plan.run(config, plan.Wanted(**{name: getattr(args, name) for name in _WANTED})))


_WANTED = ("topology", "stage", "batch_size", "concepts", "classes", "images", "model", "price")
_WANTED += ("search", "json")


def add_plan(commands: Any) -> None:
    """`jaxcbm plan`: memory, work, time and cost of a stage on a slice."""
    parser = add_command(
        commands,
        "plan",
        _plan,
        "compile one stage of an experiment for a slice of TPUs that need not be there, and say "
        "whether it fits, what it does and what it costs. Nothing runs, no data is read. A plan "
        "that says no has succeeded: the exit code is 0",
        "jaxcbm plan --config=configs/imagenet.py --topology=v5e-16 --stage=encode \\\n"
        "    --config.encoder.name=openai/clip-vit-large-patch14",
    )
    add_config(parser, required=True)
    parser.add_argument(
        "--topology",
        required=True,
        metavar="NAME",
        help="v5e-16, v6e-16 (chips), v4-16, v5p-64 (TensorCores, two a chip), cpu-8 (simulated "
        "devices), or local; TPUs need pip install 'jaxcbm[plan]'",
    )
    parser.add_argument(
        "--stage",
        required=True,
        choices=("encode", "train", "finetune"),
        help="encode images, train the bottleneck on features, or finetune the encoder with it",
    )
    parser.add_argument(
        "--batch-size", type=int, help="images a step over all chips (default: the config's)"
    )
    parser.add_argument("--concepts", type=int, help="D (default: as many as the config's set)")
    parser.add_argument("--classes", type=int, help="K, for data of unknown size")
    parser.add_argument("--images", type=int, help="train images, for data of unknown size")
    parser.add_argument("--model", type=int, help="devices along the concepts (config.mesh.model)")
    parser.add_argument(
        "--price", type=float, help="dollars an hour and chip (default: a list price)"
    )
    parser.add_argument(
        "--search",
        type=int,
        default=4,
        metavar="N",
        help="programs to compile in search of what fits (default: 4; 0 for none)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the plan there")
