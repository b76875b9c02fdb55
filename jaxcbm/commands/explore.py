"""`jaxcbm explore`: one page in which a model's decisions are looked at and corrected."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_workdir, count, output_file


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "explore",
        run,
        "write a page in which pictures, concepts and classes are looked at and corrected",
        "jaxcbm explore --workdir=runs/quickstart --output=explorer.html",
    )
    add_workdir(parser, "a finished run")
    parser.add_argument(
        "--output", required=True, type=output_file(".html"), help=".html; it needs no other file"
    )
    parser.add_argument(
        "--images", help="a folder or a glob of your pictures (default: the run's test split)"
    )
    parser.add_argument(
        "--against", metavar="WORKDIR", help="another run on the same data, to compare with"
    )
    parser.add_argument(
        "--maps",
        type=count(0),
        default=8,
        metavar="N",
        help="pictures with concept maps, the surest and the worst; each takes 170 pictures "
        "through the encoder (default: 8)",
    )
    parser.add_argument(
        "--limit",
        type=count(1),
        default=10_000,
        metavar="N",
        help="pictures at most (default: 10000)",
    )
    parser.add_argument(
        "--side",
        type=count(16),
        default=128,
        metavar="PIXELS",
        help="longer edge of the small pictures (default: 128)",
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Write the page, and say how large it is."""
    from jaxcbm.experiment.explore import explore

    names = ("images", "against", "maps", "limit", "side")
    how = {name: getattr(args, name) for name in names}
    found = explore(args.workdir, args.output, **how)
    of = f" of {found.of:,}" if found.of > found.pictures else ""
    print(f"{found.pictures:,}{of} pictures, {found.size / 1e6:.1f} MB: {args.output}")
