"""`jaxcbm predict`: labels and concepts for a folder or a glob of pictures."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_model, count, output_file


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "predict",
        run,
        "classify pictures and name the concepts that decided",
        "jaxcbm predict --workdir=runs/quickstart --images=photos/ --output=labels.csv",
    )
    add_model(parser)
    parser.add_argument("--images", required=True, help="a folder, a file, or a glob in quotes")
    parser.add_argument(
        "--output",
        required=True,
        type=output_file(".csv", ".jsonl", ".parquet"),
        help=".csv, .jsonl or .parquet (which needs pip install 'jaxcbm[parquet]')",
    )
    parser.add_argument(
        *("-k", "--top"), type=count(0), default=5, help="contributions to report (default: 5)"
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Predict, and say how many pictures there were."""
    from jaxcbm.experiment.predict import predict

    made = predict(args.workdir, args.images, args.output, args.top)
    print(f"{made} pictures predicted: {args.output}")
