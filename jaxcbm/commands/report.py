"""`jaxcbm report`: finished runs as a table; runs or result files as Markdown, CSV and HTML."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command
from jaxcbm.errors import UserError


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "report",
        run,
        "compare finished runs and sweeps in a table, or make pages of them or of result files",
        "jaxcbm report --runs runs/*\n"
        "  jaxcbm report --results docs/results/methods/*.json --output=runs/report",
    )
    many: dict[str, Any] = {"nargs": "+", "action": "extend", "type": Path, "default": []}
    parser.add_argument(
        "--runs",
        metavar="DIR",
        help="work directories of finished runs and sweeps, a folder that holds some, or a glob",
        **many,
    )
    parser.add_argument(
        "--results",
        metavar="FILE.json",
        help="what `jaxcbm reproduce` wrote, one or more or a glob, of any datasets and protocols",
        **many,
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the pages: report.md, .csv and .html of results, runs.md, .csv and .html "
        "of runs; without one, runs are printed",
    )


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Print the table, or write the pages and list them."""
    if not args.runs and not args.results:
        raise UserError("name finished runs (--runs) or result files (--results)")
    if args.results and args.output is None:
        raise UserError("--results: name the folder of the report (--output)")
    runs, results = _expanded(args.runs), _expanded(args.results)
    if args.output is None:
        print(runs_text(runs))
        return
    files = write_report(results, args.output) if results else []
    files += write_runs(runs, args.output) if runs else []
    for file in files:
        print(f"written: {file}")


def _expanded(names: Sequence[Path]) -> list[Path]:
    """Paths, globs replaced by what they match; what is there by that very name is meant first."""
    from jaxcbm.data.sources.path_pattern import matching

    found: list[Path] = []
    for name in names:
        # What matches nothing is said by whoever reads it.
        found += [name] if name.exists() else matching(str(name)) or [name]
    return found


def runs_text(folders: Sequence[Path]) -> str:
    """Finished runs as a table for a terminal."""
    from jaxcbm.report.runs import plain_text, read_runs

    return plain_text(read_runs(folders))


def write_runs(folders: Sequence[Path], output: Path) -> list[Path]:
    """Compare finished runs in runs.md, runs.csv and runs.html.

    Returns:
        The files written.

    Raises:
        UserError: none is finished, or a file of one is damaged.
    """
    from jaxcbm.report.runs import csv_text, html, markdown, read_runs

    runs = read_runs(folders)
    texts = {"runs.md": markdown(runs), "runs.csv": csv_text(runs), "runs.html": html(runs)}
    return _write(texts, output)


def _write(texts: Mapping[str, str], output: Path) -> list[Path]:
    from jaxcbm.atomic import write_text

    for name, text in texts.items():
        write_text(output / name, text)
    return [output / name for name in texts]


def write_report(files: Sequence[Path], output: Path) -> list[Path]:
    """Read and check result files, then write report.md, report.csv and report.html.

    Args:
        files: from `jaxcbm.evaluation.results.file.write_result`.
        output: a folder.

    Returns:
        The files written.

    Raises:
        UserError: a result file is missing or broken (nothing is written then), or the folder
            cannot be made.
    """
    from jaxcbm.evaluation.results.file import read_result
    from jaxcbm.report.csv_file import csv_text
    from jaxcbm.report.facts import sections
    from jaxcbm.report.pages import html_report, markdown_report

    results = [read_result(file) for file in files]
    report = sections(results)
    texts = {
        "report.md": markdown_report(report),
        "report.csv": csv_text(results),
        "report.html": html_report(report),
    }
    return _write(texts, output)
