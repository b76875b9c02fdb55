"""`jaxcbm concepts`: from class names to phrases, from phrases to those that are worth it."""

from typing import Any

from jaxcbm.commands.command import add_command
from jaxcbm.commands.concepts import diff, filter, generate, show


def add(commands: Any) -> None:
    """Its four actions."""
    parser = add_command(
        commands,
        "concepts",
        None,
        "make a set of concept phrases: generate, filter, show and diff",
        "jaxcbm concepts generate --help",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for action in (generate, filter, show, diff):
        action.add(actions)
