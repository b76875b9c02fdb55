"""`jaxcbm plan`: what a job takes on machines that are not here."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_config, amount, count, output_file


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "plan",
        run,
        "compile one stage of an experiment for a slice of TPUs that need not be there, and say "
        "whether it fits, what it does and what it costs. Nothing runs, no data is read. A plan "
        "that says no has succeeded: the exit code is 0",
        "jaxcbm plan --config=imagenet --topology=v5e-16 --stage=encode \\\n"
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
        choices=("encode", "train", "finetune", "predict"),
        help="encode images, train the bottleneck on features, finetune the encoder with it, "
        "or predict images with the model that comes of it",
    )
    parser.add_argument(
        "--batch-size", type=count(1), help="images a step over all chips (default: the config's)"
    )
    parser.add_argument(
        "--concept-count", type=count(1), help="D (default: as many as the config's set)"
    )
    parser.add_argument("--class-count", type=count(1), help="K, for data of unknown size")
    parser.add_argument(
        "--image-count", type=count(1), help="train images, for data of unknown size"
    )
    parser.add_argument(
        "--price", type=amount, help="dollars an hour and chip (default: a list price)"
    )
    parser.add_argument(
        "--search",
        type=count(0),
        default=4,
        metavar="N",
        help="programs to compile in search of what fits (default: 4; 0 for none)",
    )
    parser.add_argument(
        "--output", type=output_file(".json"), metavar="FILE", help="a .json file for the plan"
    )


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Plan, and print it."""
    from jaxcbm.planning import experiment_job

    flags = {name: getattr(args, name) for name in experiment_job.Wanted._fields}
    print(experiment_job.run(config, **flags))
