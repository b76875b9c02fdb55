"""`jaxcbm concepts`: from class names to phrases, from phrases to those that are worth it."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jaxcbm.atomic import atomic_file
from jaxcbm.commands.concept_table import diff_table, filter_table, set_summary
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.provenance import Candidate
from jaxcbm.concepts.sources.source import checked_classes
from jaxcbm.errors import UserError


def run(args: Namespace, config: dict[str, Any]) -> str:
    """One action of `jaxcbm concepts`; returns what to print."""
    if args.action == "filter":
        return filter_set(args, config)
    return {"generate": generate, "show": show, "diff": diff}[args.action](args)


def generate(args: Namespace) -> str:
    """Ask every source about the classes and write one set; asking again continues."""
    from jaxcbm.commands.concept_evidence import read_classes

    _check_output(args.output)
    classes = checked_classes(read_classes(args.classes))
    sources = [(text, _source(text, args)) for text in args.source]
    found = [candidate for _, ask in sources for candidate in ask(classes)]
    provenance = {"classes": len(classes), "sources": [text for text, _ in sources]}
    concepts = ConceptSet.from_candidates(found, provenance)
    concepts.save(args.output)
    table = f"{filter_table(concepts.filters, args.lines)}\n\n" if concepts.filters else ""
    return f"{table}{len(concepts):,} phrases of {len(classes)} classes: {args.output}"


def filter_set(args: Namespace, config: dict[str, Any]) -> str:
    """Run the filters that the flags ask for, write the set, and tell what was dropped."""
    from jaxcbm.commands.concept_evidence import TextSpaces, gather, read_classes, train_features
    from jaxcbm.concepts.filters.run import filter_concepts

    _check_output(args.output)
    _check_picture(args.picture)
    if config and args.encoder:
        raise UserError("--encoder beside --config: use --config.encoder.name=NAME")
    concepts = ConceptSet.from_file(args.concepts)
    classes = checked_classes(read_classes(args.classes)) if args.classes else ()
    train, name = None, args.encoder or "jaxcbm/tiny"
    if config:
        train, name = train_features(config, args.features)
        classes = classes or train.classes
    spaces = TextSpaces(
        name, args.sentence_encoder, (args.encoder_weight, args.sentence_weight), args.centre
    )
    steps = steps_of(args, with_classes=bool(classes))
    evidence = gather(concepts.phrases, classes, spaces, train)
    kept = filter_concepts(concepts, evidence, steps)
    fresh = tuple(
        replace(run, settings={**run.settings, **_compared(run.name, spaces)})
        for run in kept.filters[len(concepts.filters) :]
    )
    kept = replace(kept, filters=(*concepts.filters, *fresh))
    if args.picture:
        _draw(args.picture, concepts.phrases, set(kept.phrases), evidence)
    kept.save(args.output)
    return (
        f"{filter_table(fresh, args.lines)}\n\n{len(kept):,} of {len(concepts):,} phrases kept: "
        f"{args.output}"
    )


def steps_of(args: Namespace, *, with_classes: bool = True) -> list[Any]:
    """The filters that flags ask for, in the order in which they run."""
    from jaxcbm.concepts.filters.run import FILTERS, Step

    if unknown := [name for name in args.skip if name not in FILTERS]:
        raise UserError(f"--skip={unknown[0]}: no such filter; one of {', '.join(FILTERS)}")
    wanted = [
        ("length", "at_most", args.max_letters),
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


def show(args: Namespace) -> str:
    """A set, where it comes from and what filters did; perhaps its picture."""
    concepts = ConceptSet.from_file(args.concepts)
    _check_picture(args.picture)
    if args.picture:
        from jaxcbm.commands.concept_evidence import TextSpaces, gather, read_classes

        classes = checked_classes(read_classes(args.classes)) if args.classes else ()
        spaces = TextSpaces(args.encoder, centre=args.centre)
        evidence = gather(concepts.phrases, classes, spaces, None)
        _draw(args.picture, concepts.phrases, set(concepts.phrases), evidence)
    return set_summary(concepts, args.lines)


def diff(args: Namespace) -> str:
    """What changed from one set to another."""
    return diff_table(ConceptSet.from_file(args.before).diff(ConceptSet.from_file(args.after)))


def _source(text: str, args: Namespace) -> Callable[[Sequence[str]], list[Candidate]]:
    """A source of `--source=NAME` or `--source=NAME:FILE`, its settings bound."""
    name, _, file = text.partition(":")
    if name not in _SOURCES:
        raise UserError(f"--source={text}: no such source; one of {', '.join(_SOURCES)}")
    if _SOURCES[name][0] != bool(file):
        form = f"{name}:FILE" if _SOURCES[name][0] else name
        raise UserError(f"--source={text}: write --source={form}")
    return _SOURCES[name][1](args, file)


def _conceptnet(args: Namespace, _: str) -> Callable[..., list[Candidate]]:
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


def _dump(args: Namespace, file: str) -> Callable[..., list[Candidate]]:
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


def _language_model(args: Namespace, _: str) -> Callable[..., list[Candidate]]:
    from jaxcbm.concepts.sources.budget import Budget
    from jaxcbm.concepts.sources.cache import AnswerCache
    from jaxcbm.concepts.sources.language_model import from_language_model

    if not args.base_url or not args.model:
        raise UserError("--source=llm: give --base_url=http://HOST/v1 and --model=NAME")
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


def _attributes(args: Namespace, file: str) -> Callable[..., list[Candidate]]:
    from jaxcbm.concepts.sources.attribute_table import from_attribute_table

    return partial(from_attribute_table, path=file, licence=args.licence)


def _birds(_args: Namespace, _: str) -> Callable[..., list[Candidate]]:
    from jaxcbm.concepts.sources.attribute_table import from_painted_birds

    return from_painted_birds


def _file(args: Namespace, file: str) -> Callable[..., list[Candidate]]:
    from jaxcbm.concepts.sources.plain_file import from_concept_file

    return partial(from_concept_file, path=file, licence=args.licence)


def _vocabulary(args: Namespace, file: str) -> Callable[..., list[Candidate]]:
    from jaxcbm.concepts.sources.plain_file import from_vocabulary

    return partial(from_vocabulary, path=file, limit=args.limit, licence=args.licence)


# Whether a source is a file, and how it is made of the flags.
_SOURCES: dict[str, tuple[bool, Callable[[Namespace, str], Callable[..., list[Candidate]]]]] = {
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


def _compared(name: str, spaces: Any) -> dict[str, Any]:
    """In which space a filter compared: what its threshold is a number of."""
    if name in ("classes", "similar"):
        return spaces.as_json()
    return {} if name in ("length", "duplicates") else {"encoder": spaces.encoder}


def _draw(file: Path, phrases: Sequence[str], kept: set[str], evidence: Any) -> None:
    from jaxcbm.report.phrase_map import phrase_map

    if not evidence.classes:
        raise UserError("--picture shows phrases beside classes: give --classes=FILE")
    stays = [phrase in kept for phrase in phrases]
    with atomic_file(file) as temporary:
        aside = temporary.with_name(f".{file.stem}.aside{file.suffix}")
        phrase_map(
            [phrase for phrase in phrases if phrase in kept],
            evidence.texts[stays],
            evidence.classes,
            evidence.class_texts,
            aside,
            dropped_MxE=evidence.texts[[not stay for stay in stays]],
            title=f"{len(kept)} concepts beside {len(evidence.classes)} classes",
        )
        aside.replace(temporary)


def _check_output(output: Path) -> None:
    # Before anything is asked or paid for.
    if output.suffix not in (".json", ".txt"):
        raise UserError(f"--output={output}: the name must end in .json or .txt")
    if output.is_dir():
        raise UserError(f"--output={output} is a folder: name a file in it")


def _check_picture(picture: Path | None) -> None:
    if picture is not None and picture.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--picture={picture}: the extension must be .png, .svg or .pdf")
