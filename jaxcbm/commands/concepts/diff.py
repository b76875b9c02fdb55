"""`jaxcbm concepts diff`: what changed from one set to another, and why."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command


def add(actions: Any) -> None:
    """Its flags."""
    parser = add_command(
        actions,
        "diff",
        run,
        "tell what changed from one set to another, and why",
        "jaxcbm concepts diff raw.json filtered.json",
    )
    parser.add_argument("before", help="a concept file, or a built-in set's name")
    parser.add_argument("after", help="the same")


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Print the difference."""
    from jaxcbm.commands.concepts.table import diff_table
    from jaxcbm.concepts.concept_set import ConceptSet

    before, after = ConceptSet.from_file(args.before), ConceptSet.from_file(args.after)
    print(diff_table(before.diff(after)))
