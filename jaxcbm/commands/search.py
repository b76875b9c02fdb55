"""`jaxcbm search`: classification without training."""

import argparse
from typing import Any

from jaxcbm.commands.command import (
    add_cache,
    add_command,
    add_config,
    add_distributed,
    add_inference,
    output_file,
)


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "search",
        run,
        "classify without training: Concept Matrix Search in every form, and zero-shot",
        "jaxcbm search --config=quickstart --template='{}' --template='a drawing of {}'",
    )
    add_config(parser, required=True)
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help="a sentence with {} for the class name; several make an ensemble (default: "
        "'{}', 'a photo of a {}', 'a picture of a {}')",
    )
    parser.add_argument(
        "--output", type=output_file(".json"), metavar="FILE", help="a .json file for the table"
    )
    add_inference(parser, "config.encoder.dtype", "64 a device")
    add_cache(parser)
    add_distributed(parser)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Search, and print the table."""
    from jaxcbm.experiment import search

    changes = {"encoder.dtype": args.dtype} if args.dtype else None
    found = search.run(config, args.template, args.output, changes, args.batch_size)
    print(search.table(found))
