"""`jaxcbm edit`: concepts deleted, merged or added, weights held, images forgotten."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_cache, add_command, add_workdir, number


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "edit",
        run,
        "change a finished run's concepts, weights or train images, and solve its head again",
        'jaxcbm edit --workdir=runs/quickstart --delete="red crown" --output=runs/edited',
    )
    add_workdir(parser, "a finished run, or an earlier edit")
    add_cache(parser)
    parser.add_argument("--output", required=True, type=Path, help="a folder that is not there yet")
    group = parser.add_argument_group("what to change (each may be given several times)")
    for flag, metavar, kind, help in (
        ("--delete", "PHRASE", str, "take a concept out"),
        ("--add", "PHRASE", str, "a concept more"),
        ("--merge", "A+B=PHRASE", _merge, "make one concept of several: the mean of their logits"),
        ("--set", "CLASS:PHRASE=WEIGHT", _weight, "hold a weight of the head at this value"),
        ("--forget", "IMAGE", _names, "a train image by its name, or @FILE with a name a line"),
    ):
        group.add_argument(flag, metavar=metavar, type=kind, action="append", default=[], help=help)
    parser.add_argument(
        "--refit-layer",
        action="store_true",
        help="forget images by another fit of layer and head (takes as long as the first)",
    )
    parser.add_argument(
        "--path",
        action="store_true",
        help="solve every penalty again, not that of the head alone: accuracy at equal numbers of "
        "concepts needs it",
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Edit, and say what the new model is and how good its head is."""
    from jaxcbm.experiment.edit import run as edit

    model = edit(
        args.workdir,
        args.output,
        delete=args.delete,
        merge=dict(args.merge),
        add=args.add,
        hold=dict(args.set),
        forget=[name for names in args.forget for name in names],
        refit_layer=args.refit_layer,
        path=args.path,
    )
    done = model.edits[-1]
    print(model)
    print(
        f"certificate: within {done.certificate:.2g} of the optimum at lambda {done.penalty:.3g} "
        f"({done.before:.2g} before, {done.iterations} iterations)"
    )
    print(f"written to {args.output}: model/, config.json")


def _merge(text: str) -> tuple[str, list[str]]:
    members, _, phrase = text.rpartition("=")
    if not phrase.strip() or "+" not in members:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as A+B=PHRASE")
    return phrase.strip(), [member.strip() for member in members.split("+")]


def _weight(text: str) -> tuple[tuple[str, str], float]:
    where, _, weight = text.rpartition("=")
    name, colon, phrase = where.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as CLASS:PHRASE=WEIGHT")
    return (name.strip(), phrase.strip()), number(weight)


def _names(text: str) -> list[str]:
    if not text.startswith("@"):
        return [text]
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{text[1:]} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip()]
