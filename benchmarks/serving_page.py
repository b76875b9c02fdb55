"""The figures of docs/serving.md."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from benchmarks.report import table


def serving_figures(result: Mapping[str, Any]) -> str:
    """What docs/serving.md says of a result.

    Args:
        result: what `benchmarks.serving` wrote.
    """
    bare, end, stop = result["bare"], result["endurance"], result["stop"]
    machine, busy = result["machine"], result["load"]["before"] or 0.0
    lines = [
        [
            str(row["connections"]),
            f"{row['requests_a_second']:,.0f}",
            f"{row['requests_a_second'] / bare['from_files']:.2f}",
            f"{alone:,.0f}" if alone else "",
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            ", ".join(f"{size}: {count:,}" for size, count in row["batches"].items() if count),
        ]
        for row, alone in zip_longest(result["rows"], result.get("http_alone", ()))
    ]
    header = [
        "connections",
        "pictures/s",
        "of `predict`",
        "HTTP alone",
        "p50 ms",
        "p99 ms",
        "batches by size",
    ]
    grown = end["resident_mib"][-1] - end["resident_mib"][len(end["resident_mib"]) // 2]
    pixels = ", ".join(f"{size}: {rate:,.0f}" for size, rate in bare["from_pixels"].items())
    return "\n".join(
        [
            f"{machine['cpu']}, {machine['cores']} cores, load average {busy:.1f} before; the "
            "client works on the same cores. One picture a request. *HTTP alone*: requests a "
            "second of the same HTTP stack with a handler that reads the picture, no more.",
            f"`Model.predict` alone, from the same files: {bare['from_files']:,.0f} pictures a "
            f"second; from pixels, by batch size: {pixels}.",
            "",
            table(header, lines),
            "",
            f"{end['requests']:,} requests over one run: {end['requests_a_second']:,.0f} a second, "
            f"{end['answered'].get('200', 0):,} answered with 200, {end['lost']} lost; memory "
            f"{end['resident_mib'][0]:,.0f} MiB before, {end['resident_mib'][-1]:,.0f} MiB after, "
            f"{grown:+,.0f} MiB over the second half.",
            f"Stopped under load: {stop['answered_by_server']:,} answered by the server since the "
            f"load began, {stop['answered_for_client']:,} received, {stop['lost_at_stop']} lost, "
            f"{stop['stop_seconds']:.1f} s, exit code {stop['exit_code']}.",
        ]
    )
