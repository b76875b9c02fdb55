"""`jaxcbm push`: a finished model on the Hugging Face hub."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command, add_model


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "push",
        run,
        "push a finished model to the Hugging Face hub, with a card of its numbers",
        "jaxcbm push --workdir=runs/quickstart --repo=me/birds --licence=apache-2.0",
    )
    add_model(parser)
    parser.add_argument(
        "--repo",
        required=True,
        metavar="OWNER/NAME",
        help="made if need be; the token is that of HF_TOKEN or of `hf auth login`",
    )
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    parser.add_argument("--revision", metavar="BRANCH", help="made if need be (default: main)")
    parser.add_argument(
        "--with-encoder",
        action="store_true",
        help="push the encoder's files too: one that only this machine has needs it",
    )
    parser.add_argument(
        "--licence", default="", help="of the model, as the hub names it, such as apache-2.0"
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Push, and say how the model is loaded from there."""
    from jaxcbm.experiment.push import push

    commit = push(
        args.workdir,
        args.repo,
        private=args.private or None,
        revision=args.revision,
        with_encoder=args.with_encoder,
        licence=args.licence,
    )
    print(f"pushed: hf-hub:{args.repo}@{commit}")
