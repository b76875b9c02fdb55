"""A client that keeps a server busy, in a process of its own, as wrk does.

python -m benchmarks.http_load HOST PORT FOLDER --connections=32 --requests=10000

Every connection sends the pictures of a folder one after the other, each as soon as the last was
answered, and prints one line of JSON. With `--until-closed` it goes on until nobody answers.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

HEAD = (
    "POST /v1/predict?top=5&classes=5 HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\n"
    "Content-Length: {length}\r\n\r\n"
)


@dataclass
class Load:
    """What became of the requests.

    Attributes:
        statuses: how many had each.
        milliseconds: from the first byte sent to the last received, of each that was answered.
        lost: those that were sent whole, or in part, on an open connection and never answered.
        seconds: from the first to the last.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0


def main() -> None:
    """Send, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--until-closed", action="store_true")
    args = parser.parse_args()
    bodies = [file.read_bytes() for file in sorted(args.folder.iterdir())]
    requests = [HEAD.format(host=args.host, length=len(body)).encode() + body for body in bodies]
    turns = cycle(requests) if args.until_closed else islice(cycle(requests), args.requests)
    load = asyncio.run(_send(args.host, args.port, turns, args.connections))
    print(json.dumps(summary(load)))


def summary(load: Load) -> dict[str, object]:
    """Counts, and percentiles of the milliseconds."""
    ranked = sorted(load.milliseconds)
    return {
        "answered": dict(load.statuses),
        "lost": load.lost,
        "seconds": load.seconds,
        "requests_a_second": len(ranked) / load.seconds if load.seconds else 0.0,
        "p50_ms": _percentile(ranked, 0.5),
        "p99_ms": _percentile(ranked, 0.99),
        "longest_ms": _percentile(ranked, 1.0),
    }


def _percentile(ranked: Sequence[float], share: float) -> float:
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)] if ranked else 0.0


async def _send(host: str, port: int, turns: Iterator[bytes], connections: int) -> Load:
    load, began = Load(), time.perf_counter()
    await asyncio.gather(*(_one(host, port, turns, load) for _ in range(connections)))
    load.seconds = time.perf_counter() - began
    return load


async def _one(host: str, port: int, turns: Iterator[bytes], load: Load) -> None:
    """One connection after the other, until there are no more requests or nobody listens."""
    waiting: bytes | None = None
    while (request := waiting or next(turns, None)) is not None:
        waiting = None
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            return
        try:
            while request is not None:
                began = time.perf_counter()
                writer.write(request)
                status, goes_on = await _answer(reader)
                load.milliseconds.append(1000 * (time.perf_counter() - began))
                load.statuses[status] += 1
                if not goes_on:
                    break
                request = next(turns, None)
        except (OSError, EOFError):
            load.lost += 1
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bool]:
    """The status, and whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r")[0])
    await reader.readexactly(length)
    return head.split(" ", 2)[1], "connection: close" not in head


if __name__ == "__main__":
    main()
