"""Result files to Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.machine import IDLE, was_busy
from jaxcbm.code_version import Code
from jaxcbm.machine_load import Load
from jaxcbm.typed_json import from_json

HEADER = f"""# Benchmarks

Written by `python -m benchmarks` (`pip install "jaxcbm[benchmark]"`); do not edit by hand.

Every number is a ratio of speeds; higher is faster. Contenders take turns in one process, each
once a round. A ratio is the median over rounds of the ratio within a round, with its quartiles.
Absolute speeds vary with what else the machine does; read them as context. Peak memory is that of
a process that does nothing else, libraries included.

Other work on the machine flatters ratios as well: torch's threads wait for each other. So a row
is refused where the load average before it began was above {IDLE} a core, and marked *busy* where
it was measured all the same (`--force`). Rows of older code do not say how busy the machine was.

The processor decides as well. On AMD, torch multiplies matrices with MKL, which leaves 512-bit
vectors unused there; XLA uses them. Where they are of full width (family 26), ratios of what is
mostly matrix products are larger than elsewhere.
"""


def render(results: Sequence[dict[str, Any]]) -> str:
    """The whole page.

    >>> render([]).splitlines()[0]
    '# Benchmarks'
    """
    parts = [HEADER, _summary(results)]
    for result in results:
        parts += ["", f"## {result['title']}", "", _where(result), "", _ratios(result), ""]
        parts += [_contenders(result), ""]
        parts += [f"- {note}" for note in [*result["skipped"], *result["notes"]]]
    return "\n".join(parts).rstrip() + "\n"


def _summary(results: Sequence[dict[str, Any]]) -> str:
    """Every ratio that has a target."""
    lines = [
        [
            *(result["title"], ratio["name"], f"{ratio['median']:.2f}", f"{ratio['target']:g}"),
            _busy(result),
        ]
        for result in results
        for ratio in result["ratios"]
        if ratio["target"] is not None
    ]
    return table(["what", "speed of", "ratio", "target", "machine"], lines) if lines else ""


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    rule = "|" + "---|" * len(header)
    return "\n".join(
        [f"| {' | '.join(header)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)]
    )


def _busy(result: Mapping[str, Any]) -> str:
    """Whether a row was measured on an idle machine, in a word or two."""
    if "load" not in result:
        return "not said"
    return "busy" if was_busy(result["load"]) else "idle"


def _where(result: dict[str, Any]) -> str:
    machine = result["machine"]
    flags = ", ".join(f"`{flag}`" for flag in machine["flags"]) or "no notable flags"
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items() if v)
    smoke = "**A smoke test with tiny sizes: the ratios mean nothing.** " * result["quick"]
    gpu = f"{machine['gpu']}; " if machine.get("gpu") else ""
    return (
        f"{smoke}{result['date']}, {gpu}{machine['cpu']} ({flags}), {machine['threads']} of "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, "
        f"{versions}; {result['rounds']} rounds.{circumstances(result)}"
    )


def circumstances(result: Mapping[str, Any]) -> str:
    """A sentence on load and code, of results that say them.

    >>> circumstances({"load": {"before": 0.1, "largest": 2.0, "cores": 2}, "machine": {}})
    ' Load average: 0.1 before, at most 2.0 meanwhile, 2 cores.'
    """
    load, code = result.get("load"), result["machine"].get("code")
    said = ""
    if load:
        # A load that the system did not keep is null in a file.
        known = from_json(Load, load, "load", null_is_nan=True)
        said = f" Load average: {known}{' (**busy**)' * was_busy(load)}."
    return said + (f" Code: {Code(**code)}." if code else "")


def _ratios(result: dict[str, Any]) -> str:
    derived = any(ratio["derived"] for ratio in result["ratios"])
    lines = []
    for ratio in result["ratios"]:
        line = [
            ratio["name"],
            f"**{ratio['median']:.2f}** [{ratio['q25']:.2f}, {ratio['q75']:.2f}]",
            "" if ratio["target"] is None else f"{ratio['target']:g}",
            {None: "", True: "yes", False: "no"}[ratio["met"]],
        ]
        lines.append([*line, ratio["derived"]] if derived else line)
    return table(["speed of", "ratio", "target", "met"] + ["derived as"] * derived, lines)


def _contenders(result: dict[str, Any]) -> str:
    lines = []
    for contender in result["contenders"]:
        speed, peak = contender["units_per_second"], contender["peak_mib"]
        lines.append(
            [
                contender["name"],
                f"{speed['median']:,.3g}" if speed["median"] < 1000 else f"{speed['median']:,.0f}",
                "" if peak is None else f"{peak:,.0f}",
            ]
        )
    return table(["contender", f"{result['unit']} / s", "peak memory, MiB"], lines)
