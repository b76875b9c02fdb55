"""The flags that several actions on concept sets share, and their types."""

import argparse
from pathlib import Path

from jaxcbm.commands.command import count, output_file

CLASSES = "class names: birds, fashion_mnist, cifar10, cifar100, caltech_birds2011, or a text file"
CENTRE = "take the mean of this concept set off every text, for encoders that find all texts alike"


def add_output(parser: argparse.ArgumentParser) -> None:
    """The flag that names the set to write."""
    parser.add_argument(
        "--output", required=True, type=output_file(".json", ".txt"), help="a .json or .txt file"
    )


def add_picture(parser: argparse.ArgumentParser) -> None:
    """The flag that asks for a map of phrases."""
    parser.add_argument(
        "--picture",
        type=output_file(".png", ".svg", ".pdf"),
        help="draw phrases beside classes: .png, .svg or .pdf",
    )


def add_lines(parser: argparse.ArgumentParser) -> None:
    """The flag that says how long the log may be."""
    parser.add_argument(
        "--lines",
        type=count(0),
        default=20,
        help="dropped phrases to print a filter (default: 20)",
    )


def read_classes(source: str) -> tuple[str, ...]:
    """Class names of a dataset that comes with the library, or of a file with one a line.

    >>> read_classes("fashion_mnist")[:2], len(read_classes("birds"))
    (('t-shirt', 'trousers'), 48)
    """
    from jaxcbm.concepts.sources.source import checked_classes
    from jaxcbm.data.sources.class_names import built_in, read_class_file

    if source == "birds":
        from jaxcbm.data.birds.species import all_species

        return tuple(species.name for species in all_species())
    if source == "fashion_mnist":
        from jaxcbm.data.sources.fashion_mnist import CLASSES as garments

        return garments
    return checked_classes(built_in(source) or read_class_file(Path(source)))
