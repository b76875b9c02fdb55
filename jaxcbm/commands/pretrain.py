"""`jaxcbm pretrain`: a small dual encoder of one's own."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_config, add_track, add_workdir


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "pretrain",
        run,
        "train a small dual encoder from image-caption pairs; resumes where it was stopped",
        "jaxcbm pretrain --config=pretrain_tiny --workdir=runs/encoder",
    )
    add_config(parser, required=True)
    add_workdir(parser, "folder for what it writes")
    add_track(parser)
    # It asks once a step whether to stop, and then leaves a checkpoint.
    parser.set_defaults(computes=True)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Pre-train, and say where the encoder lies."""
    from jaxcbm.experiment import pretrain

    print(f"encoder: {pretrain.run(config, args.workdir)}")
