"""`jaxcbm concepts show`: a set, where it comes from and what filters did."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command
from jaxcbm.commands.concepts.action import CENTRE, CLASSES, add_lines, add_picture, read_classes


def add(actions: Any) -> None:
    """Its flags."""
    parser = add_command(
        actions,
        "show",
        run,
        "print a set, where it comes from and what filters dropped",
        "jaxcbm concepts show filtered.json --classes=classes.txt --picture=map.png",
    )
    parser.add_argument("concepts", help="a concept file, or a built-in set's name")
    add_picture(parser)
    parser.add_argument("--classes", help=f"{CLASSES}; for --picture")
    parser.add_argument("--encoder", default="jaxcbm/tiny", help="for --picture")
    parser.add_argument("--centre", default="", metavar="SET", help=CENTRE)
    add_lines(parser)


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Print the set, and perhaps draw it."""
    from jaxcbm.commands.concepts.table import set_summary
    from jaxcbm.concepts.concept_set import ConceptSet

    concepts = ConceptSet.from_file(args.concepts)
    if args.picture:
        from jaxcbm.commands.concepts.evidence import draw
        from jaxcbm.concepts.filters.evidence import TextSpaces, gather

        classes = read_classes(args.classes) if args.classes else ()
        spaces = TextSpaces(args.encoder, centre=args.centre)
        evidence = gather(concepts.phrases, classes, spaces, None)
        draw(args.picture, concepts.phrases, set(concepts.phrases), evidence)
    print(set_summary(concepts, args.lines))
