"""What a report is about: which results belong together, and what they were measured on."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.schema import ResultFile

TITLE = "Concept bottleneck models: report"


class Section(NamedTuple):
    """One dataset of a report: a result, and the same under the released protocol if it is there.

    Where only the released protocol was run, it is `result` and `released` is None.
    """

    result: ResultFile
    released: ResultFile | None


def sections(results: Sequence[ResultFile]) -> list[Section]:
    """Pair each result with the released protocol's on the same data, encoder and concepts.

    Raises:
        UserError: two results say the same of what they measured.
    """
    by_key: dict[tuple[str, ...], ResultFile] = {}
    for result in results:
        key = (*_key(result), result.protocol)
        if key in by_key:
            raise UserError(
                f"two result files hold {result.dataset} ({result.protocol}) with encoder "
                f"{result.encoder} and the same concepts: give one of them"
            )
        by_key[key] = result
    paired = []
    for result in results:
        twin = by_key.get((*_key(result), _OTHER[result.protocol]))
        if result.protocol == "official":
            paired.append(Section(result, twin))
        elif twin is None:
            paired.append(Section(result, None))
    return paired


def section_title(section: Section) -> str:
    """The heading of a section."""
    result = section.result
    dials = "".join(f", {name} {value:g}" for name, value in result.dials.items())
    return f"{result.dataset}{dials}, {result.encoder}, {result.concepts.count} concepts"


def warning(result: ResultFile) -> str:
    """What a reader must know before any number; "" for nothing."""
    if result.protocol == "official":
        return ""
    return (
        "Released protocol: most test images are also train images. These numbers say nothing "
        "about new images."
    )


def facts(result: ResultFile) -> list[tuple[str, str]]:
    """What the numbers were measured on, as (what, text)."""
    images, concepts = result.images, result.concepts
    name = f"{concepts.name}, " if concepts.name else ""
    protocol = {
        "official": "official: official test split, validation held out of train, test read once",
        "released": "released: all images pooled and re-split at random; test images are also "
        "train images",
    }[result.protocol]
    listed = [
        ("encoder", f"{result.encoder} ({result.encoder_hash[:12]})"),
        ("concepts", f"{name}{concepts.count} phrases ({concepts.hash[:12]})"),
        ("images", f"{images.train} train, {images.valid} validation, {images.test} test"),
        ("protocol", protocol),
        ("seeds", f"{len(result.seeds)} ({', '.join(map(str, result.seeds))})"),
        ("hardware", result.hardware),
        ("fitting time", duration(result.seconds)),
        # Older files do not say.
        ("load average", str(result.load) if result.load else ""),
        ("code", str(result.code) if result.code else ""),
        ("command", result.command),
    ]
    return [(what, text) for what, text in listed if text]


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(4.2), duration(192.0), duration(7260.0)
    ('4.2 s', '3 min 12 s', '2 h 1 min')
    """
    if not seconds >= 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


_OTHER = {"official": "released", "released": "official"}


def _key(result: ResultFile) -> tuple[str, ...]:
    return (result.dataset, str(result.dials), result.encoder_hash, result.concepts.hash)
