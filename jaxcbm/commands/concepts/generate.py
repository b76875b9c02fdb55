"""`jaxcbm concepts generate`: phrases about classes, from every source that is asked."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxcbm.commands.command import add_command, amount, count
from jaxcbm.commands.concepts.action import CLASSES, add_lines, add_output, read_classes
from jaxcbm.errors import UserError

if TYPE_CHECKING:
    from jaxcbm.concepts.provenance import Candidate

    Ask = Callable[..., list[Candidate]]


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


def _source(text: str, args: Namespace) -> "Ask":
    """A source of `--source=NAME` or `--source=NAME:FILE`, its settings bound."""
    name, _, file = text.partition(":")
    if name not in _SOURCES:
        raise UserError(f"--source={text}: no such source; one of {', '.join(_SOURCES)}")
    if _SOURCES[name][0] != bool(file):
        form = f"{name}:FILE" if _SOURCES[name][0] else name
        raise UserError(f"--source={text}: write --source={form}")
    return _SOURCES[name][1](args, file)


def _conceptnet(args: Namespace, _: str) -> "Ask":
    from jaxcbm.concepts.sources.cache import AnswerCache
    from jaxcbm.concepts.sources.conceptnet_api import BASE_URL, from_conceptnet_api

    return partial(
        from_conceptnet_api,
        cache=AnswerCache(args.cache),
        base_url=args.conceptnet_url or BASE_URL,
        requests_per_second=args.requests_per_second,
        progress=_progress("conceptnet", "classes"),
        **_graph(args),
    )


def _dump(args: Namespace, file: str) -> "Ask":
    from jaxcbm.concepts.sources.conceptnet_dump import from_conceptnet_dump

    return partial(
        from_conceptnet_dump, path=file, progress=_progress("dump", "bytes"), **_graph(args)
    )


def _graph(args: Namespace) -> dict[str, Any]:
    return {
        "language": args.language,
        "word_by_word": args.word_by_word,
        "minimum_weight": args.minimum_weight,
    }


def _language_model(args: Namespace, _: str) -> "Ask":
    from jaxcbm.concepts.sources.budget import Budget
    from jaxcbm.concepts.sources.cache import AnswerCache
    from jaxcbm.concepts.sources.language_model import from_language_model

    if not args.base_url or not args.model:
        raise UserError("--source=llm: give --base-url=http://HOST/v1 and --model=NAME")
    return partial(
        from_language_model,
        cache=AnswerCache(args.cache),
        base_url=args.base_url,
        model=args.model,
        count=args.count,
        seed=args.seed,
        concurrency=args.concurrency,
        budget=Budget(requests=args.max_requests, tokens=args.max_tokens),
        licence=args.licence,
        key_variable=args.key_variable,
        progress=_progress("llm", "questions"),
    )


def _attributes(args: Namespace, file: str) -> "Ask":
    from jaxcbm.concepts.sources.attribute_table import from_attribute_table

    return partial(from_attribute_table, path=file, licence=args.licence)


def _birds(_args: Namespace, _: str) -> "Ask":
    from jaxcbm.concepts.sources.attribute_table import from_painted_birds

    return from_painted_birds


def _file(args: Namespace, file: str) -> "Ask":
    from jaxcbm.concepts.sources.plain_file import from_concept_file

    return partial(from_concept_file, path=file, licence=args.licence)


def _vocabulary(args: Namespace, file: str) -> "Ask":
    from jaxcbm.concepts.sources.plain_file import from_vocabulary

    return partial(from_vocabulary, path=file, limit=args.limit, licence=args.licence)


# Whether a source is a file, and how it is made of the flags.
_SOURCES: dict[str, tuple[bool, Callable[[Namespace, str], "Ask"]]] = {
    "conceptnet": (False, _conceptnet),
    "dump": (True, _dump),
    "llm": (False, _language_model),
    "attributes": (True, _attributes),
    "birds": (False, _birds),
    "file": (True, _file),
    "vocabulary": (True, _vocabulary),
}


def _progress(label: str, unit: str) -> Callable[[int, int], None]:
    from jaxcbm.data.progress import ProgressLine

    return ProgressLine(label, unit, patience=2.0)
