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
from jaxcbm.concepts.filters.table import FILTERS
from jaxcbm.errors import UserError


def add(actions: Any) -> None:
    """Its flags."""
    parser = add_command(
        actions,
        "filter",
        run,
        "drop unsuitable phrases, and say why each was dropped",
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
        help=f"leave one out: {', '.join(FILTERS)}",
    )
    add_lines(parser)
    _add_filters(parser.add_argument_group("filters of texts"), of_images=False)
    _add_spaces(parser.add_argument_group("what texts are compared in"))
    asked = parser.add_argument_group("filters that ask train pictures")
    add_config(asked)
    asked.add_argument("--features", type=Path, help="folder of the feature store")
    _add_filters(asked, of_images=True)


def _add_filters(group: Any, *, of_images: bool) -> None:
    """The flags of the filters that look at train images, or of those that do not."""
    for name, each in FILTERS.items():
        if not each.flag or ("images" in each.evidence) is not of_images:
            continue
        usual = next(iter(each.defaults.values()))
        group.add_argument(
            each.flag,
            dest=each.flag,
            type=count(1) if isinstance(usual, int) else number,
            default=usual if each.by_default else None,
            metavar=each.unit,
            help=f"{name}: {each.meaning} (default: {usual if each.by_default else 'off'})",
        )


def _add_spaces(group: Any) -> None:
    group.add_argument("--encoder", help="dual encoder (default: jaxcbm/tiny, or --config's)")
    group.add_argument(
        "--sentence-encoder", default="", help="compare in a sentence-transformers model as well"
    )
    group.add_argument(
        "--encoder-weight", type=amount, default=3.0, help="beside the other (default: 3)"
    )
    group.add_argument("--sentence-weight", type=amount, default=1.0, help="the same (default: 1)")
    group.add_argument("--centre", default="", metavar="SET", help=CENTRE)


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Run the filters that the flags ask for, write the set, and tell what was dropped."""
    from jaxcbm.commands.concepts.evidence import draw, train_features
    from jaxcbm.commands.concepts.table import filter_table
    from jaxcbm.concepts.concept_set import ConceptSet
    from jaxcbm.concepts.filters.evidence import TextSpaces, gather
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
    from jaxcbm.concepts.filters.run import Step

    if unknown := [name for name in args.skip if name not in FILTERS]:
        raise UserError(f"--skip={unknown[0]}: no such filter; one of {', '.join(FILTERS)}")
    steps = []
    for name, each in FILTERS.items():
        value = getattr(args, each.flag) if each.flag else None
        asked = value is not None or (each.by_default and not each.flag)
        known = with_classes or "class_texts" not in each.evidence
        if asked and known and name not in args.skip:
            steps.append(Step(name, {next(iter(each.defaults)): value} if each.flag else {}))
    return steps


def _compared(name: str, spaces: Any) -> dict[str, Any]:
    """In which space a filter compared: what its threshold is a number of."""
    seen = FILTERS[name].evidence
    if "texts" in seen:
        return spaces.as_json()
    return {"encoder": spaces.encoder} if "pictured" in seen else {}
