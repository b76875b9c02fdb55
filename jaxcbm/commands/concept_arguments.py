"""The flags of `jaxcbm concepts generate|filter|show|diff`."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config

_CLASSES = "class names: birds, fashion_mnist, cifar10, cifar100, caltech_birds2011, or a text file"
_PICTURE = "draw phrases beside classes: .png, .svg or .pdf"
_CENTRE = "take the mean of this concept set off every text, for encoders that find all texts alike"


def add_concepts(commands: Any) -> None:
    """`jaxcbm concepts`: the four actions on concept sets."""
    parser = add_command(
        commands,
        "concepts",
        None,
        "make a set of concept phrases: generate, filter, show and diff",
        "jaxcbm concepts generate --help",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _generate(actions)
    _filter(actions)
    _show(actions)
    diff = _action(
        *(actions, "diff", "tell what changed from one set to another, and why"),
        "jaxcbm concepts diff raw.json filtered.json",
    )
    diff.add_argument("before", help="a concept file, or a built-in set's name")
    diff.add_argument("after", help="the same")


def _action(actions, name: str, help: str, example: str) -> argparse.ArgumentParser:
    parser = add_command(actions, name, _run, help, example)
    parser.set_defaults(action=name)
    parser.add_argument(
        "--lines", type=int, default=20, help="dropped phrases to print a filter (default: 20)"
    )
    return parser


def _run(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import concepts

    print(concepts.run(args, config))


def _generate(actions) -> None:
    parser = _action(
        *(
            actions,
            "generate",
            "ask sources for phrases about classes; continues where it stopped",
        ),
        "jaxcbm concepts generate --classes=classes.txt --output=raw.json \\\n"
        "    --source=dump:conceptnet-assertions-5.7.0.csv.gz --source=llm \\\n"
        "    --base_url=http://localhost:8000/v1 --model=NAME",
    )
    parser.add_argument("--classes", required=True, help=_CLASSES)
    parser.add_argument(
        "--source",
        required=True,
        action="append",
        metavar="SOURCE",
        help="conceptnet (the web API), dump:FILE (its assertions), llm (a language model), "
        "attributes:FILE (CUB's layout), birds (the painted birds' attributes), file:FILE (a "
        "concept file or built-in set), vocabulary:FILE; may be given several times",
    )
    parser.add_argument("--output", required=True, type=Path, help="a .json or .txt file")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/concept_cache"),
        help="folder of the answers of servers (default: runs/concept_cache)",
    )
    parser.add_argument("--licence", default="", help="of what a file or a model says")
    graph = parser.add_argument_group("ConceptNet")
    graph.add_argument("--conceptnet_url", help="of another server than the public one")
    graph.add_argument("--language", default="en", help="of names and phrases (default: en)")
    graph.add_argument(
        "--word_by_word", action="store_true", help="look unknown names up word by word"
    )
    graph.add_argument("--minimum_weight", type=float, default=1.0, help="of an edge (default: 1)")
    graph.add_argument("--requests_per_second", type=float, default=1.0, help="(default: 1)")
    model = parser.add_argument_group("language model")
    model.add_argument("--base_url", help="of an OpenAI-compatible server, up to and with /v1")
    model.add_argument("--model", help="as the server names it")
    model.add_argument(
        "--key_variable",
        default="OPENAI_API_KEY",
        help="environment variable of the key (default: OPENAI_API_KEY)",
    )
    model.add_argument("--count", type=int, default=10, help="phrases a question (default: 10)")
    model.add_argument("--seed", type=int, default=0, help="of the sampling (default: 0)")
    model.add_argument("--concurrency", type=int, default=4, help="requests at once (default: 4)")
    model.add_argument("--max_requests", type=int, help="stop after so many (default: no cap)")
    model.add_argument("--max_tokens", type=int, help="stop before more tokens (default: no cap)")
    words = parser.add_argument_group("vocabulary")
    words.add_argument("--limit", type=int, help="words from the top (default: all)")


def _filter(actions) -> None:
    parser = _action(
        *(actions, "filter", "drop phrases that are no good, and say of each why"),
        "jaxcbm concepts filter --concepts=raw.json --classes=classes.txt --output=filtered.json "
        "\\\n    --encoder=openai/clip-vit-base-patch32",
    )
    parser.add_argument("--concepts", required=True, help="a concept file, or a built-in set")
    parser.add_argument("--output", required=True, type=Path, help="a .json or .txt file")
    parser.add_argument("--classes", help=f"{_CLASSES} (default: those of --config's data)")
    parser.add_argument(
        "--picture", type=Path, help="draw phrases beside classes: .png, .svg, .pdf"
    )
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="FILTER",
        help="leave out: length, duplicates, ...",
    )
    text = parser.add_argument_group("filters of texts (on by default)")
    text.add_argument(
        "--max_letters", type=int, default=30, help="length: drop longer phrases (default: 30)"
    )
    text.add_argument(
        "--class_similarity",
        type=float,
        default=0.85,
        help="classes: drop phrases as similar to a class name (default: 0.85)",
    )
    text.add_argument(
        "--phrase_similarity",
        type=float,
        default=0.90,
        help="similar: drop phrases as similar to an earlier one (default: 0.90)",
    )
    text.add_argument("--encoder", help="dual encoder (default: jaxcbm/tiny, or --config's)")
    text.add_argument(
        "--sentence_encoder", default="", help="compare in a sentence-transformers model as well"
    )
    text.add_argument(
        "--encoder_weight", type=float, default=3.0, help="beside the other (default: 3)"
    )
    text.add_argument("--sentence_weight", type=float, default=1.0, help="the same (default: 1)")
    text.add_argument("--centre", default="", metavar="SET", help=_CENTRE)
    image = parser.add_argument_group("filters that ask train pictures (off by default)")
    add_config(image)
    image.add_argument("--features", type=Path, help="folder of the feature store")
    image.add_argument(
        "--visible",
        type=float,
        metavar="COSINE",
        help="drop phrases whose 5 best pictures score less on average (0.25 suits CLIP)",
    )
    image.add_argument(
        "--varying", type=float, metavar="COSINE", help="drop phrases whose scores deviate by less"
    )
    image.add_argument(
        "--informative", type=float, metavar="NATS", help="drop phrases that tell less of the label"
    )
    image.add_argument(
        "--per_class", type=int, metavar="K", help="keep the K phrases a class that set it apart"
    )


def _show(actions) -> None:
    parser = _action(
        *(actions, "show", "print a set, where it comes from and what filters dropped"),
        "jaxcbm concepts show filtered.json --classes=classes.txt --picture=map.png",
    )
    parser.add_argument("concepts", help="a concept file, or a built-in set's name")
    parser.add_argument(
        "--picture", type=Path, help="draw phrases beside classes: .png, .svg, .pdf"
    )
    parser.add_argument("--classes", help=f"{_CLASSES}; for --picture")
    parser.add_argument("--encoder", default="jaxcbm/tiny", help="for --picture")
    parser.add_argument("--centre", default="", metavar="SET", help=_CENTRE)
