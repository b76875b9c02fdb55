"""`jaxcbm concepts generate`: phrases about classes, from every source that is asked."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from jaxcbm.commands.command import add_command, amount, count
from jaxcbm.commands.concepts.action import CLASSES, add_lines, add_output, read_classes
from jaxcbm.concepts.sources.budget import Budget
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.data.progress import ProgressLine
from jaxcbm.errors import UserError


def add(actions: Any) -> None:
    """Its flags."""
    parser = add_command(
        actions,
        "generate",
        run,
        "ask sources for phrases about classes; continues where it stopped",
        "jaxcbm concepts generate --classes=classes.txt --output=raw.json \\\n"
        "    --source=dump:conceptnet-assertions-5.7.0.csv.gz --source=llm \\\n"
        "    --base-url=http://localhost:8000/v1 --model=NAME",
    )
    parser.add_argument("--classes", required=True, help=CLASSES)
    parser.add_argument(
        "--source",
        required=True,
        action="append",
        metavar="SOURCE",
        help="conceptnet (the web API), dump:FILE (its assertions), llm (a language model), "
        "attributes:FILE (CUB's layout), birds (the painted birds' attributes), file:FILE (a "
        "concept file or built-in set), vocabulary:FILE; may be given several times",
    )
    add_output(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/concept_cache"),
        help="folder of the answers of servers (default: runs/concept_cache)",
    )
    parser.add_argument("--licence", default="", help="of what a file or a model says")
    add_lines(parser)
    _add_graph(parser.add_argument_group("ConceptNet"))
    _add_language_model(parser.add_argument_group("language model"))
    words = parser.add_argument_group("vocabulary")
    words.add_argument("--limit", type=count(1), help="words from the top (default: all)")


def _add_graph(group: Any) -> None:
    group.add_argument("--conceptnet-url", help="of another server than the public one")
    group.add_argument("--language", default="en", help="of names and phrases (default: en)")
    group.add_argument(
        "--word-by-word", action="store_true", help="look unknown names up word by word"
    )
    group.add_argument("--minimum-weight", type=amount, default=1.0, help="of an edge (default: 1)")
    group.add_argument("--requests-per-second", type=amount, default=1.0, help="(default: 1)")


def _add_language_model(group: Any) -> None:
    group.add_argument("--base-url", help="of an OpenAI-compatible server, up to and with /v1")
    group.add_argument("--model", help="as the server names it")
    group.add_argument(
        "--key-variable",
        default="OPENAI_API_KEY",
        help="environment variable of the key (default: OPENAI_API_KEY)",
    )
    group.add_argument(
        "--count", type=count(1), default=10, help="phrases a question (default: 10)"
    )
    group.add_argument("--seed", type=int, default=0, help="of the sampling (default: 0)")
    group.add_argument(
        "--concurrency", type=count(1), default=4, help="requests at once (default: 4)"
    )
    group.add_argument("--max-requests", type=count(1), help="stop after so many (default: no cap)")
    group.add_argument(
        "--max-tokens", type=count(1), help="stop before more tokens (default: no cap)"
    )


def run(args: Namespace, _: dict[str, Any]) -> None:
    """Ask every source about the classes and write one set; asking again continues."""
    from jaxcbm.commands.concepts.table import filter_table
    from jaxcbm.concepts.concept_set import ConceptSet

    classes = read_classes(args.classes)
    sources = [(text, _source(text, args)) for text in args.source]
    found = [candidate for _, ask in sources for candidate in ask(classes)]
    provenance = {"classes": len(classes), "sources": [text for text, _ in sources]}
    concepts = ConceptSet.from_candidates(found, provenance)
    concepts.save(args.output)
    if concepts.filters:
        print(f"{filter_table(concepts.filters, args.lines)}\n")
    print(f"{len(concepts):,} phrases of {len(classes)} classes: {args.output}")


def _source(text: str, args: Namespace) -> Callable[..., Any]:
    """A source of `--source=NAME` or `--source=NAME:FILE`, its settings bound."""
    name, _, file = text.partition(":")
    if name not in _SOURCES:
        raise UserError(f"--source={text}: no such source; one of {', '.join(_SOURCES)}")
    source = _SOURCES[name]
    if source.is_file != bool(file):
        form = f"{name}:FILE" if source.is_file else name
        raise UserError(f"--source={text}: write --source={form}")
    settings = {flag: getattr(args, flag) for flag in source.flags} | source.more(args)
    if source.is_file:
        settings["path"] = file
    if source.unit:
        settings["progress"] = ProgressLine(name, source.unit, patience=2.0)
    module, _, function = source.home.partition(".")
    home = import_module(f"jaxcbm.concepts.sources.{module}")
    return partial(getattr(home, function), **settings)


class Source(NamedTuple):
    """A function of class names, and what of the flags it is given by name.

    Attributes:
        home: its module in `jaxcbm.concepts.sources`, and its name there.
        flags: those that its settings are called as.
        is_file: it reads a FILE, its setting `path`.
        unit: of its progress, where it takes long.
        more: the flags to the settings that are called otherwise.
    """

    home: str
    flags: tuple[str, ...] = ()
    is_file: bool = False
    unit: str = ""
    more: Callable[[Namespace], dict[str, Any]] = lambda _: {}


def _asked_of_conceptnet(args: Namespace) -> dict[str, Any]:
    where = {"base_url": args.conceptnet_url} if args.conceptnet_url else {}
    return {"cache": AnswerCache(args.cache), **where}


def _asked_of_a_model(args: Namespace) -> dict[str, Any]:
    if not args.base_url or not args.model:
        raise UserError("--source=llm: give --base-url=http://HOST/v1 and --model=NAME")
    budget = Budget(requests=args.max_requests, tokens=args.max_tokens)
    return {"cache": AnswerCache(args.cache), "budget": budget}


_GRAPH = ("language", "word_by_word", "minimum_weight")
_MODEL = ("base_url", "model", "count", "seed", "concurrency", "licence", "key_variable")
_SOURCES = {
    "conceptnet": Source(
        "conceptnet_api.from_conceptnet_api",
        (*_GRAPH, "requests_per_second"),
        unit="classes",
        more=_asked_of_conceptnet,
    ),
    "dump": Source("conceptnet_dump.from_conceptnet_dump", _GRAPH, is_file=True, unit="bytes"),
    "llm": Source(
        "language_model.from_language_model", _MODEL, unit="questions", more=_asked_of_a_model
    ),
    "attributes": Source("attribute_table.from_attribute_table", ("licence",), is_file=True),
    "birds": Source("attribute_table.from_painted_birds"),
    "file": Source("plain_file.from_concept_file", ("licence",), is_file=True),
    "vocabulary": Source("plain_file.from_vocabulary", ("limit", "licence"), is_file=True),
}
