"""`jaxcbm encode`: the feature store alone."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_config, add_distributed
from jaxcbm.storage import as_path


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "encode",
        run,
        "encode a dataset's images into a feature store, once; resumes where it was stopped",
        "jaxcbm encode --config=fashion_mnist --output=runs/features",
    )
    add_config(parser, required=True)
    parser.add_argument(
        "--output", required=True, type=as_path, help="folder of the store, here or on gs://"
    )
    add_distributed(parser)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Encode, and say what of each split is there."""
    from jaxcbm.experiment import encode

    for features in encode.run(config, args.output):
        print(f"{len(features)} images, {len(features.skipped)} skipped: {args.output}")
