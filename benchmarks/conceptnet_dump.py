"""Seconds and peak memory of reading a dump of ConceptNet, beside unpacking it and nothing else.

python -m benchmarks.conceptnet_dump                      # 5 million lines, about a minute
python -m benchmarks.conceptnet_dump --lines=50000 --output=/tmp/smoke.json

The dump is made up: its lines have the form, the length and the shares of relations and languages
of ConceptNet 5.7, which is too large to ship. The result stands in the layout of the other rows.
"""

import argparse
import gzip
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import describe, idle_machine, use_threads
from benchmarks.peak_memory import peak_mib
from jaxcbm.atomic import write_json
from jaxcbm.concepts.sources.conceptnet import term_of
from jaxcbm.data.sources.class_names import built_in

RELATIONS = {
    "RelatedTo": 36, "FormOf": 20, "DerivedFrom": 10, "HasContext": 8, "IsA": 6, "Synonym": 12,
    "AtLocation": 2, "HasProperty": 1, "PartOf": 1, "HasA": 1, "MadeOf": 1, "ExternalURL": 2,
}  # fmt: skip
LANGUAGES = {"en": 35, "fr": 25, "de": 15, "es": 10, "la": 10, "zh": 5}
CLASSES = built_in("cifar100")
# Lines that are about a class: as rare as in the real dump, where 34 million lines hold few.
ONE_IN = 2000


def lines(count: int, seed: int = 0) -> Iterator[str]:
    """Made-up assertions in the dump's five columns."""
    rng = random.Random(seed)
    info = (
        '{"dataset": "/d/wiktionary/%s", "license": "cc:by-sa/4.0", "sources": [{"contributor": '
        '"/s/resource/wiktionary/%s", "process": "/s/process/wikiparsec/2"}], "weight": %.1f}'
    )
    relations = rng.choices(list(RELATIONS), list(RELATIONS.values()), k=4096)
    languages = rng.choices(list(LANGUAGES), list(LANGUAGES.values()), k=4093)
    pairs = itertools.cycle(relations), itertools.cycle(languages)
    for number, relation, language in zip(range(count), *pairs, strict=False):
        start = f"/c/{language}/word_{rng.getrandbits(19):x}"
        if number % ONE_IN == 0:
            relation, language = "HasA", "en"
            start = f"{term_of(language, CLASSES[number // ONE_IN % len(CLASSES)])}/n"
        end = f"/c/{language}/thing_{rng.getrandbits(19):x}"
        edge = f"/a/[/r/{relation}/,{start}/,{end}/]\t/r/{relation}\t{start}\t{end}\t"
        yield edge + info % (language, language, 1 + number % 3) + "\n"


def unpack(path: Path) -> int:
    """Lines of the file: what no reader can do without."""
    with gzip.open(path, "rb") as file:
        return sum(1 for _ in file)


def read(path: Path) -> int:
    """Phrases found."""
    from jaxcbm.concepts.sources.conceptnet_dump import from_conceptnet_dump

    return len(from_conceptnet_dump(CLASSES, path))


CONTENDERS: dict[str, Callable[[Path], int]] = {"unpacking alone": unpack, "jaxcbm": read}


def main() -> None:
    """Make the dump, read it in processes of their own, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--output", type=Path, default=Path("docs/results/speed/conceptnet_dump.json")
    )
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    use_threads(1)
    if args.child:
        name, path = args.child
        begun = time.process_time()
        found = CONTENDERS[name](Path(path))
        print(json.dumps([time.process_time() - begun, peak_mib(), found]))
        return
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.csv.gz", Path(folder) / "large.csv.gz"
        for path, count in ((small, max(args.lines // 100, 1)), (large, args.lines)):
            with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
                file.writelines(lines(count))
        megabytes = large.stat().st_size / 1e6
        with idle_machine("conceptnet_dump", force=args.force) as load:
            measured = {
                name: [_measure(name, large) for _ in range(args.rounds)] for name in CONTENDERS
            }
            little = _measure("jaxcbm", small)
    result = _result(args.lines, measured, little, megabytes) | {"load": asdict(load)}
    write_json(args.output, result)
    for contender in result["contenders"]:
        print(f"{contender['name']}: {contender['seconds']} s, {contender['peak_mib']} MiB")


def _measure(name: str, path: Path) -> tuple[float, float, int]:
    command = [sys.executable, "-m", "benchmarks.conceptnet_dump", "--child", name, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak, found = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak, found


def _result(
    count: int,
    measured: dict[str, list[tuple[float, float, int]]],
    little: tuple[float, float, int],
    megabytes: float,
) -> dict[str, Any]:
    """The layout of the other rows, so that the page shows it beside them."""
    seconds = {name: [round(s, 3) for s, _, _ in runs] for name, runs in measured.items()}
    peaks = {name: round(max(peak for _, peak, _ in runs)) for name, runs in measured.items()}
    share = [a / b for a, b in zip(seconds["unpacking alone"], seconds["jaxcbm"], strict=True)]
    found = measured["jaxcbm"][0][2]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": count < 1_000_000,
        "machine": describe(),
        "name": "conceptnet_dump",
        "title": f"Reading a dump of ConceptNet: {count:,} lines, {len(CLASSES)} classes",
        "unit": "lines",
        "rounds": len(share),
        "contenders": [
            {
                "name": name,
                "units_per_round": count,
                "units_per_second": _spread([count / s for s in taken]),
                "seconds": taken,
                "peak_mib": peaks[name],
            }
            for name, taken in seconds.items()
        ],
        "ratios": [
            {
                "name": "jaxcbm / unpacking alone",
                **_spread(share),
                "target": None,
                "met": None,
                "derived": None,
            }
        ],
        "skipped": [],
        "notes": [
            f"A made-up dump of {megabytes:.0f} MB in the columns of ConceptNet 5.7; {found:,} "
            "statements about the classes are found. Each contender runs in a process of its own, "
            "on one core; seconds are the processor's.",
            f"Of a hundredth of the lines the peak is {little[1]:.0f} MiB, of all "
            f"{peaks['jaxcbm']} MiB: memory does not grow with the lines, only with what is found.",
        ],
    }


def _spread(values: list[float]) -> dict[str, float]:
    """The median and the ends, which stand for quartiles where there are few rounds."""
    return {"median": median(values), "q25": min(values), "q75": max(values)}


if __name__ == "__main__":
    main()
