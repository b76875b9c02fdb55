"""`jaxcbm concepts filter`: phrases that are no good leave, each with a reason."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config, amount, count, number
from jaxcbm.commands.concepts.action import (
    CENTRE,
    CLASSES,
    add_lines,
    add_output,
    add_picture,
    read_classes,
)
from jaxcbm.errors import UserError


def add(actions: Any) -> None:
    """Its flags."""
    parser = add_command(
        actions,
        "filter",
        run,
        "drop phrases that are no good, and say of each why",
        "jaxcbm concepts filter --concepts=raw.json --classes=classes.txt --output=filtered.json "
        "\\\n    --encoder=openai/clip-vit-base-patch32",
    )
    parser.add_argument("--concepts", required=True, help="a concept file, or a built-in set")
    add_output(parser)
    parser.add_argument("--classes", help=f"{CLASSES} (default: those of --config's data)")
    add_picture(parser)
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="FILTER",
        help="leave out: length, duplicates, ...",
    )
    add_lines(parser)
    _add_text_filters(parser.add_argument_group("filters of texts (on by default)"))
    _add_image_filters(
        parser.add_argument_group("filters that ask train pictures (off by default)")
    )


def _add_text_filters(group: Any) -> None:
    group.add_argument(
        "--max-characters",
        type=count(1),
        default=30,
        help="length: drop longer phrases (default: 30)",
    )
    group.add_argument(
        "--class-similarity",
        type=number,
        default=0.85,
        help="classes: drop phrases as similar to a class name (default: 0.85)",
    )
    group.add_argument(
        "--phrase-similarity",
        type=number,
        default=0.90,
        help="similar: drop phrases as similar to an earlier one (default: 0.90)",
    )
    group.add_argument("--encoder", help="dual encoder (default: jaxcbm/tiny, or --config's)")
    group.add_argument(
        "--sentence-encoder", default="", help="compare in a sentence-transformers model as well"
    )
    group.add_argument(
        "--encoder-weight", type=amount, default=3.0, help="beside the other (default: 3)"
    )
    group.add_argument("--sentence-weight", type=amount, default=1.0, help="the same (default: 1)")
    group.add_argument("--centre", default="", metavar="SET", help=CENTRE)


def _add_image_filters(group: Any) -> None:
    add_config(group)
    group.add_argument("--features", type=Path, help="folder of the feature store")
    group.add_argument(
        "--visible",
        type=number,
        metavar="COSINE",
        help="drop phrases whose 5 best pictures score less on average (0.25 suits CLIP)",
    )
    group.add_argument(
        "--varying", type=number, metavar="COSINE", help="drop phrases whose scores deviate by less"
    )
    group.add_argument(
        "--informative",
        type=number,
        metavar="NATS",
        help="drop phrases that tell less of the label",
    )
    group.add_argument(
        "--per-class",
        type=count(1),
        metavar="K",
        help="keep the K phrases per class that set it apart",
    )


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Run the filters that the flags ask for, write the set, and tell what was dropped."""
    from jaxcbm.commands.concepts.evidence import TextSpaces, draw, gather, train_features
    from jaxcbm.commands.concepts.table import filter_table
    from jaxcbm.concepts.concept_set import ConceptSet
    from jaxcbm.concepts.filters.run import filter_concepts

    if config and args.encoder:
        raise UserError("--encoder beside --config: use --config.encoder.name=NAME")
    concepts = ConceptSet.from_file(args.concepts)
    classes = read_classes(args.classes) if args.classes else ()
    train, name = None, args.encoder or "jaxcbm/tiny"
    if config:
        train, name = train_features(config, args.features)
        classes = classes or train.classes
    spaces = TextSpaces(
        name, args.sentence_encoder, (args.encoder_weight, args.sentence_weight), args.centre
    )
    steps = _steps(args, with_classes=bool(classes))
    evidence = gather(concepts.phrases, classes, spaces, train)
    kept = filter_concepts(concepts, evidence, steps)
    fresh = tuple(
        replace(done, settings={**done.settings, **_compared(done.name, spaces)})
        for done in kept.filters[len(concepts.filters) :]
    )
    kept = replace(kept, filters=(*concepts.filters, *fresh))
    if args.picture:
        draw(args.picture, concepts.phrases, set(kept.phrases), evidence)
    kept.save(args.output)
    print(f"{filter_table(fresh, args.lines)}\n")
    print(f"{len(kept):,} of {len(concepts):,} phrases kept: {args.output}")


def _steps(args: argparse.Namespace, *, with_classes: bool) -> list[Any]:
    """The filters that flags ask for, in the order in which they run."""
    from jaxcbm.concepts.filters.run import FILTERS, Step

    if unknown := [name for name in args.skip if name not in FILTERS]:
        raise UserError(f"--skip={unknown[0]}: no such filter; one of {', '.join(FILTERS)}")
    wanted = [
        ("length", "at_most", args.max_characters),
        ("duplicates", "", True),
        ("classes", "below", args.class_similarity if with_classes else None),
        ("similar", "below", args.phrase_similarity),
        ("visible", "at_least", args.visible),
        ("varying", "at_least", args.varying),
        ("informative", "at_least", args.informative),
        ("cover", "per_class", args.per_class),
    ]
    return [
        Step(name, {setting: value} if setting else {})
        for name, setting, value in wanted
        if value is not None and name not in args.skip
    ]


def _compared(name: str, spaces: Any) -> dict[str, Any]:
    """In which space a filter compared: what its threshold is a number of."""
    if name in ("classes", "similar"):
        return spaces.as_json()
    return {} if name in ("length", "duplicates") else {"encoder": spaces.encoder}
