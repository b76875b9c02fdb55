"""The dump is streamed: memory grows with the edges found, not with the lines read."""

import gzip
import tracemalloc
from pathlib import Path

from loopback import api_edge, dump_line

from jaxcbm.concepts.sources.conceptnet_dump import from_conceptnet_dump


def write_dump(path: Path, lines: int) -> None:
    template = dump_line(api_edge("HasA", "START", "END"))
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        for n in range(lines):
            start = "dog" if n % 1000 == 0 and n < 20_000 else f"word{n}"
            file.write(template.replace("START", start).replace("END", f"part_{n}"))


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    found = from_conceptnet_dump(["dog"], path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 20
    return most


def test_memory_does_not_grow_with_the_lines(tmp_path):
    small, large = tmp_path / "small.csv.gz", tmp_path / "large.csv.gz"
    write_dump(small, 20_000)
    write_dump(large, 200_000)
    assert len(gzip.decompress(large.read_bytes())) > 40_000_000
    first = peak_bytes(small)
    assert peak_bytes(large) < first + 100_000 < 2_000_000
